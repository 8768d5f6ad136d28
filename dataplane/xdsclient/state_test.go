package xdsclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
)

func sampleState() *State {
	e := newState().edit(1<<63 + 5)
	for _, typeURL := range Types()[:4] {
		for i := range 5 {
			name := fmt.Sprintf("%s %d", typeURL, i)
			e.put(typeURL, name, "v", &anypb.Any{TypeUrl: typeURL, Value: []byte(name)})
		}
	}
	s, _ := e.done()
	s.Node = "default/cart-1"
	return s
}

func TestRestoreReadsWhatMarshalWrote(t *testing.T) {
	for name, s := range map[string]*State{"full": sampleState(), "empty": newState()} {
		b := s.Marshal()
		back, err := Restore(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(s, back, protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !bytes.Equal(b, back.Marshal()) {
			t.Errorf("%s: other bytes for an equal state", name)
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	good := sampleState().Marshal()
	for cut := range good {
		if _, err := Restore(good[:cut]); err == nil {
			t.Fatalf("cut at %d was taken", cut)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := Restore(bad); err == nil {
			t.Fatalf("flipped bit in byte %d was taken", i)
		}
	}
	newer := bytes.Clone(good)
	newer[len(snapshotMagic)] = 3
	if _, err := Restore(newer); err == nil || !strings.Contains(err.Error(), "format 3, this version reads 2") {
		t.Errorf("%v", err)
	}
}

// withChecksum gives the fuzzer's body a right head, so that it reaches the parser.
func withChecksum(body []byte) []byte {
	sum := sha256.Sum256(body)
	b := append([]byte(snapshotMagic), snapshotFormat)
	return append(append(b, sum[:]...), body...)
}

func FuzzRestore(f *testing.F) {
	good := sampleState().Marshal()
	head := len(snapshotMagic) + 1 + sha256.Size
	f.Add(good[head:])
	f.Add(newState().Marshal()[head:])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Restore(body)
		s, err := Restore(withChecksum(body))
		if err != nil {
			return
		}
		written := s.Marshal()
		again, err := Restore(written)
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if !bytes.Equal(written, again.Marshal()) {
			t.Error("other bytes after another round")
		}
	})
}

func TestParseMark(t *testing.T) {
	for nonce, want := range map[string]mark{
		"1.1/1":                     {1, 1, 1},
		"0.1/2":                     {0, 1, 2},
		"18446744073709551615.9/10": {18446744073709551615, 9, 10},
	} {
		if got, ok := parseMark(nonce); !ok || got != want {
			t.Errorf("%q: %v %v", nonce, got, ok)
		}
	}
	for _, nonce := range []string{"", "1", "1.1", "1/1", "1.0/1", "1.2/1", "+1.1/1", "1.1/+1", "01.1/1", "1.1/99999", "1.1/1 ", "s1", "18446744073709551616.1/1", "1.1.1/1", "-1.1/1"} {
		if got, ok := parseMark(nonce); ok {
			t.Errorf("%q: %v", nonce, got)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	for _, s := range []string{"1.1/1", "12.3/4", "", "a.b/c", "1.1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, nonce string) {
		m, ok := parseMark(nonce)
		if ok && fmt.Sprintf("%d.%d/%d", m.generation, m.part, m.parts) != nonce {
			t.Errorf("%q was read as %+v", nonce, m)
		}
	})
}

// Random edits against a plain map: the new state is right, the old ones do not change, and the difference is exact where
// something was put.
func TestEditAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := newState()
	oracle := map[string]string{}
	for round := range 300 {
		before := s.Marshal()
		e := s.edit(uint64(round))
		had := map[string]string{}
		for k, v := range oracle {
			had[k] = v
		}
		for range r.IntN(6) {
			name := fmt.Sprint(r.IntN(8))
			if r.IntN(3) == 0 {
				e.remove(TypeRoute, name)
				delete(oracle, name)
			} else {
				version := fmt.Sprint(r.IntN(5))
				e.put(TypeRoute, name, version, &anypb.Any{TypeUrl: TypeRoute, Value: []byte(version)})
				oracle[name] = version
			}
		}
		next, u := e.done()
		if !bytes.Equal(before, s.Marshal()) {
			t.Fatal("an edit changed its base")
		}
		if d := cmp.Diff(oracle, next.Versions[TypeRoute]); d != "" {
			t.Fatal(d)
		}
		for _, name := range u.Removed[TypeRoute] {
			if _, still := oracle[name]; still || had[name] == "" {
				t.Fatalf("%s is called removed", name)
			}
		}
		changed := map[string]bool{}
		for _, name := range u.Changed[TypeRoute] {
			changed[name] = true
			if _, has := oracle[name]; !has {
				t.Fatalf("%s is called changed and is not there", name)
			}
		}
		for name, version := range oracle {
			if had[name] != version && !changed[name] {
				t.Fatalf("%s changed and is not called so", name)
			}
		}
		s = next
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackoff()
		high := backoffFirst
		for range 12 {
			began := time.Now()
			if !b.sleep(context.Background()) {
				t.Fatal("not slept")
			}
			if d := time.Since(began); d < high/2 || d > high {
				t.Errorf("waited %s, wanted %s to %s", d, high/2, high)
			}
			high = min(2*high, backoffMax)
		}
		b.reset()
		if d := b.step(); d > backoffFirst {
			t.Errorf("after reset: %s", d)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if b.sleep(ctx) {
			t.Error("slept although it was over")
		}
	})
}

func BenchmarkTakeGeneration(b *testing.B) {
	// One endpoint set of a state of 1,000 services changes.
	e := newState().edit(1)
	for i := range 1000 {
		for _, typeURL := range Types()[:4] {
			e.put(typeURL, fmt.Sprint(i), "1", &anypb.Any{TypeUrl: typeURL})
		}
	}
	s, _ := e.done()
	r := &discovery.Resource{Name: "500", Version: "2", Resource: &anypb.Any{TypeUrl: TypeEndpoints}}
	b.ReportAllocs()
	for b.Loop() {
		e := s.edit(2)
		e.put(TypeEndpoints, r.Name, r.Version, r.Resource)
		if _, u := e.done(); len(u.Changed) != 1 {
			b.Fatal(u)
		}
	}
}
