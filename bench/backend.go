package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	smallBody = 1 << 10
	bigBody   = 100 << 20
)

// backendMain is the application: it answers as cheaply as can be, so that the proxies are what is measured.
func backendMain(args []string, _ io.Writer) error {
	fs := flag.NewFlagSet("backend", flag.ContinueOnError)
	protocol, listen := fs.String("protocol", "http1", "http1 or grpc"), fs.String("listen", "", "host:port")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *protocol == "grpc" {
		return echoServer().Serve(l)
	}
	small, big := response(smallBody), response(bigBody)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c, small, big)
	}
}

func response(size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	return append([]byte(head), bytes.Repeat([]byte{'a'}, size)...)
}

// answer answers /big by the big response and all else by the small one. Requests have no body.
func answer(c net.Conn, small, big []byte) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		answer := small
		for first := true; ; first = false {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if first && bytes.HasPrefix(line, []byte("GET /big ")) {
				answer = big
			}
			if len(line) <= 2 {
				break
			}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// echoServer answers each call with its own message.
func echoServer() *grpc.Server {
	s := grpc.NewServer()
	echo := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		m := &wrapperspb.BytesValue{}
		return m, decode(m)
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: echo}},
	}, nil)
	return s
}
