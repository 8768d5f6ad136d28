package dataplanes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api/resource"
)

// A proxy that flaps, or lies, makes the store work ten times a second at most, and the others wait for nothing of it.
func TestReadinessIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect(registration("cart-1", "cart", "10.0.0.1"))
		f.connect(registration("cart-2", "cart", "10.0.0.2"))
		before, begin := f.revision(), time.Now()
		flaps := make(chan error, 8)
		for stream := range 8 { // it may hold several report streams
			go func() {
				var err error
				for n := range 25 {
					err = errors.Join(err, f.m.SetReadiness(t.Context(), "default", "cart-1",
						[]resource.InboundInsight{{Name: "http", Reason: fmt.Sprint(stream, n)}}))
				}
				flaps <- err
			}()
		}
		synctest.Wait()
		f.check(f.m.SetReadiness(t.Context(), "default", "cart-2", []resource.InboundInsight{{Name: "http"}}))
		if d := time.Since(begin); d != 0 {
			t.Errorf("another dataplane waited for %s", d)
		}
		for range 8 {
			f.check(<-flaps)
		}
		writes := f.revision() - before - 1
		if d := time.Since(begin); writes != 200 || d < 199*tellInterval {
			t.Errorf("%d writes in %s", writes, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), tellInterval/2)
		defer cancel()
		if err := f.m.SetReadiness(ctx, "default", "cart-1", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that hung up: %v", err)
		}
	})
}

// Nothing is kept but what the Dataplane has, and of that no book.
func TestReadinessIsTidied(t *testing.T) {
	told := []resource.InboundInsight{{Name: "http", Ready: true}, {Name: "http", Reason: strings.Repeat("é", 1000)}}
	for n := range 1000 {
		told = append(told, resource.InboundInsight{Name: fmt.Sprint("made-up-", n), Reason: "x"})
	}
	want := []resource.InboundInsight{{Name: "http", Reason: strings.Repeat("é", 128)}}
	for what, early := range map[string]bool{"before the registration": true, "after it": false} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				if early {
					f.check(f.m.SetReadiness(t.Context(), "default", "cart-1", told))
				}
				f.connect(registration("cart-1", "cart", "10.0.0.1"))
				if !early {
					f.check(f.m.SetReadiness(t.Context(), "default", "cart-1", told))
				}
				if diff := cmp.Diff(want, f.insight("cart-1").Inbounds); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A proxy that has left and drains is left, until it connects anew.
func TestLeftSession(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		s := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		if s.Left() {
			t.Error("left before it did")
		}
		f.check(f.m.Leave(t.Context(), "default", "cart-1"))
		if !s.Left() {
			t.Error("its session does not know that it has left")
		}
		again := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		if again.Left() || s.Left() {
			t.Error("left although it came back")
		}
	})
}
