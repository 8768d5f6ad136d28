// Command bench measures sidecar proxies side by side in the topology of a mesh:
//
//	client --HTTP--> egress sidecar --mutual TLS--> ingress sidecar --HTTP--> backend
//
// or as gateways, where it is TLS handshakes that count:
//
//	client --TLS, a new connection each time--> proxy --HTTP--> backend
//
// HAProxy, nginx and Envoy are measured if they are on PATH, Hauberk from bin/hauberk. Runs are interleaved between peers and
// medians compared as ratios: on a shared machine nothing else means anything. Client and backend are this program again, in
// processes of their own. It is not a load tester for other topologies.
//
// Start at workloads.go (what is asked), then topology.go (of whom), measure.go (what it costs) and table.go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	parts := map[string]func([]string, io.Writer) error{"load": loadMain, "backend": backendMain}
	main := benchMain(stderr)
	if len(args) > 0 && parts[args[0]] != nil {
		main, args = parts[args[0]], args[1:]
	}
	err := main(args, stdout)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	fmt.Fprintln(stderr, "bench:", err)
	return 1
}

type usageError struct{ error }

// options are the command line.
type options struct {
	workloads, peers string
	base, output     string
	reps             int
	seconds          float64
	connections      int
	hauberk          string
	env              []string // of hauberk: tests run it from their own binary
}

func benchMain(progress io.Writer) func([]string, io.Writer) error {
	return func(args []string, out io.Writer) error {
		o := options{}
		fs := flag.NewFlagSet("bench", flag.ContinueOnError)
		fs.SetOutput(progress)
		fs.StringVar(&o.workloads, "w", "w1,w1pin,w2,w4,w5,w6", "workloads, see workloads.go")
		fs.StringVar(&o.peers, "peers", "direct,haproxy,nginx,envoy,hauberk", "peers, see peers.go; direct is no proxy")
		fs.StringVar(&o.base, "base", "haproxy", "the peer that ratios are taken to")
		fs.StringVar(&o.output, "o", "table", "table or json")
		fs.IntVar(&o.reps, "reps", 3, "interleaved repetitions, of which medians are taken")
		fs.Float64Var(&o.seconds, "seconds", 0, "measured time of each run (default: the workload's own)")
		fs.IntVar(&o.connections, "connections", 0, "connections, or gRPC calls in flight (default: the workload's own)")
		fs.StringVar(&o.hauberk, "hauberk", "bin/hauberk", "the program to measure")
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			return err
		} else if err != nil {
			return usageError{err}
		}
		if fs.NArg() > 0 || o.output != "table" && o.output != "json" || o.reps < 1 {
			return usageError{fmt.Errorf("unexpected %q, or -o is neither table nor json, or -reps is below 1", fs.Args())}
		}
		return measureAll(o, out, progress)
	}
}

// measureAll runs every workload against every peer that is there, the repetitions outermost.
func measureAll(o options, out, progress io.Writer) error {
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	present, absent, err := findPeers(o)
	if err != nil {
		return err
	}
	for _, a := range absent {
		fmt.Fprintln(progress, "absent:", a)
	}
	g, err := newGround(progress)
	if err != nil {
		return err
	}
	defer g.clear()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)

	r := results{base: o.base, absent: absent}
	for rep := range o.reps {
		for _, w := range chosen {
			for _, p := range present {
				select {
				case <-interrupted:
					return errors.New("interrupted")
				default:
				}
				m, err := g.measure(w, p)
				switch {
				case errors.Is(err, errNotForPeer):
					continue
				case err != nil:
					return fmt.Errorf("%s of %s: %w", w.name, p.name, err)
				}
				fmt.Fprintf(progress, "%d/%d %-6s %-10s %s\n", rep+1, o.reps, w.name, p.name, w.short(m))
				r.add(w, p, m)
			}
		}
	}
	if o.output == "json" {
		return r.json(out)
	}
	return r.table(out)
}

// chosen are the wanted workloads, as the options change them.
func (o options) chosen() ([]workload, error) {
	var chosen []workload
	for _, name := range strings.Split(o.workloads, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		if i < 0 {
			return nil, usageError{fmt.Errorf("no workload %q", name)}
		}
		w := workloads[i]
		if o.seconds > 0 {
			w.measured = time.Duration(o.seconds * float64(time.Second))
			w.warm = min(w.warm, w.measured)
		}
		if o.connections > 0 {
			w.connections = o.connections
		}
		chosen = append(chosen, w)
	}
	return chosen, nil
}
