package engine

import (
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(1, 0)
	for i := range linesASecond + 3 {
		if _, ok := l.allow(now); ok != (i < linesASecond) {
			t.Fatalf("line %d: %v", i, ok)
		}
	}
	if suppressed, ok := l.allow(now.Add(time.Second)); !ok || suppressed != 3 {
		t.Errorf("a second later: %v, %d suppressed", ok, suppressed)
	}
}
