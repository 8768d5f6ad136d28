package server_test

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// A whole push: from the world's update to the last ACK, over gRPC connections in memory, with one small resolver that
// stands in for the policies. "policy" reaches every proxy; "endpoints" one of them, and must not grow with their number.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{10, 100} {
		p := newPlane(b, shop(n))
		for i := range n {
			p.connect(name("frontend-%d", i), "frontend")
		}
		for i := range n {
			p.connected(name("frontend-%d", i))
		}
		round := 0
		measure := func(change func() store.Revision, acks int) func(b *testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					round++
					if got := p.propagated(change()); len(got.ACKed) != acks {
						b.Fatalf("%+v", got)
					}
				}
			}
		}
		b.Run(name("policy/proxies=%d", n), measure(func() store.Revision {
			return p.worlds.change("default", setPolicy(name("p%d", round)))
		}, n))
		b.Run(name("endpoints/proxies=%d", n), measure(func() store.Revision {
			return p.worlds.change("default", setEndpoints("cart", name("10.9.%d.%d", round/256%256, round%256)))
		}, 1))
		p.stop()
	}
}
