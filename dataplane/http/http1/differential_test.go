package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// reading is all that one parser takes out of a message: what two must agree on.
type reading struct {
	method, target, host string // of a request
	status               int    // of a response
	minor                int
	fields               []string // "name: value" end to end, sorted
	framing              Kind
	length               int64 // of Length
	close                bool
	body                 string
	trailers             []string // sorted
}

// ends is how many bytes of data a parser has not taken, when r has not been asked for them and buffered holds some.
func ends(buffered int, r *bytes.Reader) int { return buffered + r.Len() }

// requests reads a connection's requests, at most two, until one is refused. It returns where each ends.
func requests(data []byte) (list []reading, left []int, err error) {
	src := bytes.NewReader(data)
	r := NewReader(src)
	defer r.Discard()
	for len(list) < 2 {
		var m Request
		if err := r.ReadRequest(&m); err != nil {
			return list, left, err
		}
		if m.Method == "CONNECT" {
			return list, left, errTunnel
		}
		body, trailers, err := content(r, m.Body)
		if err != nil {
			return list, left, err
		}
		list = append(list, reading{method: strings.Clone(m.Method), target: strings.Clone(m.Original), host: strings.Clone(m.Authority),
			minor: m.Minor, fields: sorted(m.Header.Fields), framing: m.Body.Kind, length: m.Body.Length, close: m.Close,
			body: body, trailers: trailers})
		left = append(left, ends(r.Buffered(), src))
		if m.Close {
			break
		}
	}
	return list, left, nil
}

var errTunnel = fmt.Errorf("a tunnel follows")

func content(r *Reader, f Framing) (body string, trailers []string, err error) {
	var b Body
	b.Reset(r, f)
	all, err := io.ReadAll(&b)
	return string(all), sorted(b.Trailer().Fields), err
}

func sorted(fields []message.Field) []string {
	list := []string{}
	for _, f := range fields {
		list = append(list, strings.ToLower(f.Name)+": "+f.Value)
	}
	slices.Sort(list)
	return list
}

// oracleRequest reads one request as net/http does, in our words.
func oracleRequest(br *bufio.Reader) (reading, error) {
	m, err := http.ReadRequest(br)
	if err != nil {
		return reading{}, err
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return reading{}, err
	}
	x := reading{method: m.Method, target: m.RequestURI, host: strings.ToLower(m.Host), minor: m.ProtoMinor, close: m.Close,
		body: string(body)}
	switch {
	case len(m.TransferEncoding) > 0:
		x.framing = Chunked
	case m.Header.Get("Content-Length") != "":
		x.framing, x.length = Length, m.ContentLength
	}
	x.fields = endToEnd(m.Header, m.Header)
	x.trailers = endToEnd(m.Trailer, nil)
	return x, nil
}

func oracleResponse(br *bufio.Reader, method string) (reading, error) {
	m, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return reading{}, err
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return reading{}, err
	}
	x := reading{status: m.StatusCode, minor: m.ProtoMinor, close: m.Close, body: string(body)}
	switch {
	case method == "HEAD" || m.StatusCode < 200 || m.StatusCode == 204 || m.StatusCode == 304:
	case len(m.TransferEncoding) > 0:
		x.framing = Chunked
	case m.ContentLength >= 0:
		x.framing, x.length = Length, m.ContentLength
	default:
		x.framing = UntilClose
	}
	x.fields = endToEnd(m.Header, m.Header)
	x.trailers = endToEnd(m.Trailer, nil)
	return x, nil
}

// endToEnd are the fields that are not the hop's own business: what a proxy takes out of net/http's header. Of trailers
// (head is nil) it leaves those that may be there.
func endToEnd(h, head http.Header) []string {
	list := []string{}
	listed := map[string]bool{}
	for _, value := range head["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			listed[strings.ToLower(strings.Trim(option, " \t"))] = true
		}
	}
	for name, values := range h {
		name = strings.ToLower(name)
		switch name {
		case "te", "host", "upgrade", "connection", "keep-alive", "content-length", "proxy-connection", "transfer-encoding":
			continue
		case "expect", "trailer": // see comparable
			if head != nil {
				continue
			}
		}
		if head == nil && !message.MayTrail(name) {
			continue
		}
		if listed[name] && name != "close" && name != "keep-alive" && name != "upgrade" {
			continue
		}
		for _, v := range values {
			list = append(list, name+": "+v)
		}
	}
	slices.Sort(list)
	return list
}

// comparable leaves out of our reading what net/http takes out of a header, or puts in, by its own account: Trailer is moved
// to another place and Expect is ours to answer; a Pragma: no-cache gets a Cache-Control.
func comparable(x, oracle *reading) {
	x.fields = slices.DeleteFunc(x.fields, func(f string) bool {
		return strings.HasPrefix(f, "expect:") || strings.HasPrefix(f, "trailer:")
	})
	const added = "cache-control: no-cache"
	if i := slices.Index(oracle.fields, added); i >= 0 && len(oracle.fields) == len(x.fields)+1 && !slices.Contains(x.fields, added) {
		oracle.fields = slices.Delete(oracle.fields, i, i+1)
	}
}

// stricter lists by name what net/http refuses and we take, with the reason why that is safe. What is not in it is a finding.
var stricter = []struct{ name, says, why string }{
	{"target that is no URL", "parse ", "escapes in a target are the application's business: RFC 9112 section 3.2 has it passed on as it is"},
	{"target that is no URL", "invalid URI", "as above"},
	{"Trailer that announces framing", "bad trailer key", "RFC 9110 section 6.6.2: it binds nobody; such trailers are dropped, announced or not"},
	{"long trailers", "suspiciously long trailer", "net/http takes what fits its buffer of 4 KiB, we what Limits say"},
	{"many small chunks", "too much non-data", "a matter of efficiency; each line is bounded here"},
}

func findings(t *testing.T, data []byte, err error) {
	t.Helper()
	for _, s := range stricter {
		if strings.Contains(err.Error(), s.says) {
			return
		}
	}
	t.Fatalf("accepted %.999q, which net/http refuses: %v", data, err)
}

func agree(t *testing.T, data []byte, x, oracle reading) {
	t.Helper()
	comparable(&x, &oracle)
	if got, want := fmt.Sprintf("%#v", x), fmt.Sprintf("%#v", oracle); got != want {
		t.Fatalf("%.999q is read as\n%s\nand by net/http as\n%s", data, got, want)
	}
}

// FuzzRequests: two requests on one connection are the same two to net/http, and end where they end for it.
func FuzzRequests(f *testing.F) {
	for _, a := range requestAttacks {
		if len(a.wire) < 1<<10 {
			f.Add([]byte(a.wire + smuggled))
		}
	}
	for _, s := range requestSeeds {
		f.Add([]byte(s + smuggled))
	}
	f.Fuzz(sameRequests)
}

func sameRequests(t *testing.T, data []byte) {
	list, left, err := requests(data)
	slow, _, slowErr := slowly(data)
	if len(slow) != len(list) || (err == nil) != (slowErr == nil) {
		t.Fatalf("%.999q: %d requests, %v; byte by byte %d, %v", data, len(list), err, len(slow), slowErr)
	}
	src := bytes.NewReader(data)
	br := bufio.NewReader(src)
	for i, x := range list {
		// One empty line before a request is ignored here: RFC 9112 section 2.2. net/http's server does it elsewhere.
		if b, _ := br.Peek(2); string(b) == "\r\n" {
			_, _ = br.Discard(2)
		}
		oracle, err := oracleRequest(br)
		if err != nil {
			findings(t, data, err)
			return
		}
		agree(t, data, x, oracle)
		if got := ends(br.Buffered(), src); got != left[i] {
			t.Fatalf("%.999q: request %d ends %d bytes before the end, for net/http %d", data, i+1, left[i], got)
		}
	}
}

// slowly is requests, of a connection that gives one byte at a time.
func slowly(data []byte) (list []reading, left []int, err error) {
	r := NewReader(iotest.OneByteReader(bytes.NewReader(data)))
	defer r.Discard()
	for len(list) < 2 {
		var m Request
		if err := r.ReadRequest(&m); err != nil {
			return list, left, err
		}
		if m.Method == "CONNECT" {
			return list, left, errTunnel
		}
		body, _, err := content(r, m.Body)
		if err != nil {
			return list, left, err
		}
		list = append(list, reading{body: body})
		if m.Close {
			break
		}
	}
	return list, left, nil
}

var requestSeeds = []string{
	"POST /a?b HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nConnection: x-y, close\r\nX-Y: 1\r\n\r\nabc",
	"POST http://h/p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n" +
		"3;a=\"b\"\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
	"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\nCookie: a=b\r\ncookie: c=d\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
	"\r\nPATCH / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n",
}

// FuzzResponses: a response, and one more on the same connection, as net/http reads them.
func FuzzResponses(f *testing.F) {
	for _, a := range responseAttacks {
		f.Add([]byte(a.wire), false)
	}
	for _, s := range responseSeeds {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(sameResponses)
}

func sameResponses(t *testing.T, data []byte, head bool) {
	method := "GET"
	if head {
		method = "HEAD"
	}
	src, theirs := bytes.NewReader(data), bytes.NewReader(data)
	r, br := NewReader(src), bufio.NewReader(theirs)
	defer r.Discard()
	for range 2 {
		var m Response
		if r.ReadResponse(&m, method) != nil || m.Status == 101 {
			return
		}
		body, trailers, err := content(r, m.Body)
		if err != nil {
			return
		}
		oracle, err := oracleResponse(br, method)
		if err != nil {
			findings(t, data, err)
			return
		}
		agree(t, data, reading{status: m.Status, minor: m.Minor, fields: sorted(m.Header.Fields), framing: m.Body.Kind,
			length: m.Body.Length, close: m.Close, body: body, trailers: trailers}, oracle)
		if got, want := ends(r.Buffered(), src), ends(br.Buffered(), theirs); got != want {
			t.Fatalf("%.999q ends %d bytes before the end, for net/http %d", data, got, want)
		}
		if m.Close {
			return
		}
	}
}

var responseSeeds = []string{
	ok + "Content-Length: 3\r\n\r\nabc" + ok + "\r\nuntil close",
	ok + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
	"HTTP/1.0 404\r\n\r\nx",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx" + ok + "Connection: close\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
}

// TestNeighbours: every message that is one byte away from a good one is refused, or read as net/http reads it.
func TestNeighbours(t *testing.T) {
	for _, s := range requestSeeds {
		neighbours(s, func(data []byte) { sameRequests(t, append(data, smuggled...)) })
	}
	for _, s := range responseSeeds {
		neighbours(s, func(data []byte) { sameResponses(t, data, false) })
	}
}

// neighbours gives all that comes of s by putting one of the bytes that parsers differ on in a place, or in place of another
// byte, or by leaving one out.
func neighbours(s string, give func([]byte)) {
	for at := range len(s) {
		for _, c := range []byte("\x00\t\n\x0b\r \"+,-0x:;=\x7f\x85\xa0") {
			give(append(append([]byte(s[:at]), c), s[at:]...))
			give(append(append([]byte(s[:at]), c), s[at+1:]...))
		}
		give(append([]byte(s[:at]), s[at+1:]...))
	}
}

// FuzzTrailers: what follows the last chunk.
func FuzzTrailers(f *testing.F) {
	for _, s := range []string{
		"\r\n", "X: y\r\n\r\n", "X: y\r\n z\r\n\r\n", "Host: x\r\nX-A:\t\r\nx-a: 2\r\n\r\n", "X : y\r\n\r\n", "X: y\n\r\n",
		"X: \x00\r\n\r\n", "X: " + strings.Repeat("y", 5000) + "\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = append([]byte(chunked+"0\r\n"), data...)
		list, left, err := requests(data)
		if len(list) == 0 {
			return
		}
		if err != nil && len(list) == 1 {
			left = left[:1]
		}
		src := bytes.NewReader(data)
		br := bufio.NewReader(src)
		oracle, err := oracleRequest(br)
		if err != nil {
			findings(t, data, err)
			return
		}
		agree(t, data, list[0], oracle)
		if got := ends(br.Buffered(), src); got != left[0] {
			t.Fatalf("%.999q: ends %d bytes before the end, for net/http %d", data, left[0], got)
		}
	})
}
