// Package handshake measures what a TLS 1.3 handshake costs a server, for each place where its private key may live: the work
// of `hauberk bench handshake`.
//
// A server and a load generator run as processes of their own, the server on one core and the generator on the others. Only
// the server's processor time counts. Every handshake is a full one, on a new TCP connection over loopback. Providers take
// turns in short rounds, of which medians are taken: on a shared machine nothing else means anything. It is no load tester for
// servers of somebody else; the program in the folder above sets whole proxies side by side.
//
// Start at Run; then server.go, which is measured, client.go, which asks, and report.go, which adds up.
package handshake

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are what is measured. Start from Defaults.
type Options struct {
	Providers   []string // of Providers, in the order in which they take turns
	Key         string   // of Keys
	Curve       string   // of Curves
	Mutual      bool     // the client presents a certificate, too
	Concurrency int      // clients, each with one handshake after the other
	Duration    time.Duration

	// Command is how this program runs itself as a part of the measurement, without the last argument, which names the part;
	// Env is added to its environment.
	Command, Env []string
	// Progress is told how much of the whole is done, from 0 to 1, some ten times a second. Nil: nobody.
	Progress func(done float64, provider string)
}

// Providers are the places where keys may live.
func Providers() []string { return []string{"memory", "batch"} }

// Keys are the kinds of private key, of the server and of a client that has one.
func Keys() []string { return []string{"rsa2048", "rsa3072", "rsa4096", "ecdsa-p256"} }

// Curves are the key exchanges.
func Curves() []string { return []string{"x25519", "p256", "x25519mlkem768", "secp256r1mlkem768"} }

func curveID(name string) tls.CurveID {
	return map[string]tls.CurveID{"x25519": tls.X25519, "p256": tls.CurveP256, "x25519mlkem768": tls.X25519MLKEM768,
		"secp256r1mlkem768": tls.SecP256r1MLKEM768}[name]
}

// Defaults are what is measured unless somebody says otherwise.
func Defaults() Options {
	return Options{Providers: Providers(), Key: "rsa2048", Curve: "x25519", Concurrency: 32, Duration: 10 * time.Second}
}

// mostClients keeps a mistyped number from taking all file descriptors: each client has one on either side.
const mostClients = 10_000

// Validate says what can't be measured, and what can.
func (o Options) Validate() error {
	for _, p := range o.Providers {
		if err := among("provider", p, Providers()); err != nil {
			return err
		}
	}
	if err := cmp.Or(among("key", o.Key, Keys()), among("curve", o.Curve, Curves())); err != nil {
		return err
	}
	switch {
	case len(o.Providers) == 0:
		return fmt.Errorf("provider: name at least one of %s", strings.Join(Providers(), ", "))
	case o.Concurrency < 1 || o.Concurrency > mostClients:
		return fmt.Errorf("concurrency: %d is not between 1 and %d", o.Concurrency, mostClients)
	case o.Duration < leastDuration || o.Duration > mostDuration:
		return fmt.Errorf("duration: %v is not between %v and %v", o.Duration, leastDuration, mostDuration)
	}
	return nil
}

const (
	leastDuration = 100 * time.Millisecond
	mostDuration  = time.Hour
)

func among(what, name string, known []string) error {
	if slices.Contains(known, name) {
		return nil
	}
	return fmt.Errorf("%s: %q is none of %s", what, name, strings.Join(known, ", "))
}

// rounds are how the time of one provider is divided: about two seconds each, an odd number of them, so that the median is one
// that was measured.
func (o Options) rounds() (n int, each, warm time.Duration) {
	n = max(3, int(o.Duration/(2*time.Second))) | 1
	each = o.Duration / time.Duration(n)
	return n, each, min(each/4, 500*time.Millisecond)
}

// Run measures. It returns early with ctx's error when that is done; no process is left in any case.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &bench{Options: o, crew: newCrew(o.Command, o.Env)}
	defer b.crew.end()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	n, each, warm := o.rounds()
	for round := range n {
		for _, s := range b.sides {
			if round == 0 { // keys, caches and heaps are new
				if _, err := b.round(ctx, s, warm, warm); err != nil {
					return nil, err
				}
			}
			r, err := b.round(ctx, s, warm, each)
			if err != nil {
				return nil, err
			}
			s.rounds = append(s.rounds, r)
		}
	}
	return b.report(n), nil
}

// bench is one measurement under way.
type bench struct {
	Options
	crew   *crew
	client *part
	sides  []*side
	passed time.Duration // of what total takes
}

// side is one provider: its server, and what was measured there.
type side struct {
	provider string
	server   *part
	ready    serverReady
	rounds   []round
}

// start starts a server for each provider, and one client for all.
func (b *bench) start(ctx context.Context) error {
	c, err := newCredentials(b.Key, b.Mutual)
	if err != nil {
		return err
	}
	for _, name := range b.Providers {
		s := &side{provider: name}
		if s.server, err = b.crew.start(ctx, serverPart, b.crew.servers); err != nil {
			return err
		}
		task := serverTask{Provider: name, Curve: b.Curve, Leaf: c.server, Mutual: b.Mutual, Authority: c.authority}
		if err := s.server.ask(task, &s.ready); err != nil {
			return err
		}
		b.sides = append(b.sides, s)
	}
	if b.client, err = b.crew.start(ctx, clientPart, b.crew.clients); err != nil {
		return err
	}
	return b.client.ask(clientTask{Curve: b.Curve, Leaf: c.client, Server: c.server.Certificate}, &struct{}{})
}

// round is what one turn of a provider has shown.
type round struct {
	server  serverSample // what was added to it
	client  clientResult
	seconds float64
}

// round has clients shake hands with s all the time, and looks at the server's clock and count at both ends of what is
// measured: those that are under way then even out.
func (b *bench) round(ctx context.Context, s *side, warm, each time.Duration) (r round, err error) {
	var nothing struct{}
	if err := b.client.ask(clientCommand{Do: "start", Address: s.ready.Address, Clients: b.Concurrency}, &nothing); err != nil {
		return r, err
	}
	if err := b.wait(ctx, warm, s.provider); err != nil {
		return r, err
	}
	var before, after serverSample
	if err := b.client.ask(clientCommand{Do: "begin"}, &nothing); err != nil {
		return r, err
	}
	if err := s.server.ask(serverLook{}, &before); err != nil {
		return r, err
	}
	// A machine that is busy with something else is waited for until one handshake is done.
	for began := time.Now(); r.server.Handshakes == 0 && r.seconds < patience.Seconds(); {
		if err := b.wait(ctx, each, s.provider); err != nil {
			return r, err
		}
		if err := s.server.ask(serverLook{}, &after); err != nil {
			return r, err
		}
		r.seconds, r.server = time.Since(began).Seconds(), after.since(before)
	}
	if err := b.client.ask(clientCommand{Do: "end"}, &r.client); err != nil {
		return r, err
	}
	if r.server.Handshakes == 0 || r.client.Handshakes == 0 {
		return r, fmt.Errorf("provider %s: no handshake was done within %.0f s: %s", s.provider, r.seconds,
			cmp.Or(r.client.LastError, r.server.LastError, "the machine is too busy"))
	}
	return r, nil
}

// wait lets time pass and tells of it.
func (b *bench) wait(ctx context.Context, d time.Duration, provider string) error {
	n, each, warm := b.rounds()
	total := time.Duration(len(b.Providers)) * (time.Duration(n)*(each+warm) + 2*warm)
	const step = 100 * time.Millisecond
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			b.passed += d
			return nil
		}
		if b.Progress != nil {
			b.Progress(min(1, float64(b.passed+d-left)/float64(total)), provider)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(left, step)):
		}
	}
}
