package batch

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// number is an operation of gate's: it becomes its negative.
type number struct{ in, out int }

// gate is a kernel that computes when it is told to.
type gate struct {
	begun chan []int    // the batch that it was given
	open  chan struct{} // let it end
}

func newGate() *gate { return &gate{make(chan []int), make(chan struct{})} }

func (g *gate) Run(ops []*number) {
	var all []int
	for _, o := range ops {
		all = append(all, o.in)
	}
	g.begun <- all
	<-g.open
	for _, o := range ops {
		o.out = -o.in
	}
}

// bench is a queue with a gate of its own, for use within synctest.
type bench struct {
	t *testing.T
	q *queue[number]
	g *gate
}

func newBench(t *testing.T, limit, procs int) *bench {
	t.Helper()
	before := runtime.GOMAXPROCS(procs)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	b := &bench{t: t, g: newGate()}
	b.q = newQueue("test", passes{4, 8}, limit, func() kernel[number] { return b.g })
	return b
}

// submit queues an operation and returns once it is queued.
func (b *bench) submit(ctx context.Context, n int) <-chan error {
	ended := make(chan error, 1)
	go func() {
		j := &job[number]{op: number{in: n}}
		err := b.q.do(ctx, j)
		if err == nil && j.op.out != -n {
			err = errors.New("wrong result")
		}
		ended <- err
	}()
	synctest.Wait()
	return ended
}

func (b *bench) submitAll(from, to int) (ended []<-chan error) {
	for n := from; n <= to; n++ {
		ended = append(ended, b.submit(context.Background(), n))
	}
	return ended
}

func (b *bench) begins(want ...int) {
	b.t.Helper()
	if got := <-b.g.begun; !slices.Equal(got, want) {
		b.t.Errorf("batch %v, want %v", got, want)
	}
}

func (b *bench) finish(ended ...<-chan error) {
	b.t.Helper()
	b.g.open <- struct{}{}
	for _, e := range ended {
		if err := <-e; err != nil {
			b.t.Error(err)
		}
	}
}

// An idle worker takes what is queued at once; what arrives meanwhile is the next batch, at most a pass, in order.
func TestArrivalsFormTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		first := b.submit(t.Context(), 1)
		b.begins(1)
		others := b.submitAll(2, 8)
		if s := b.q.stats(); s.Queued != 7 || s.Workers != 1 {
			t.Errorf("queued %d, workers %d", s.Queued, s.Workers)
		}
		b.finish(first)
		b.begins(2, 3, 4, 5)
		b.finish(others[:4]...)
		b.begins(6, 7, 8)
		b.finish(others[4:]...)
		synctest.Wait()
		if s := b.q.stats(); !slices.Equal(s.Batches, []uint64{1, 0, 1, 1, 0, 0, 0, 0}) || s.Operations() != 8 || s.Fill() != 8.0/3 || s.Queued != 0 || s.Workers != 0 {
			t.Errorf("%+v", s)
		}
		b.q.close()
	})
}

// The first four of eight are delivered before the others are begun.
func TestPassesAreDeliveredOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		ended := b.submitAll(0, 8)
		b.begins(0)
		b.finish(ended[0])
		b.begins(1, 2, 3, 4)
		b.finish(ended[1:5]...)
		for _, e := range ended[5:] {
			select {
			case <-e:
				t.Error("one of the second pass has ended")
			default:
			}
		}
		b.begins(5, 6, 7, 8)
		b.finish(ended[5:]...)
		b.q.close()
	})
}

// Where many wait, the passes are long until only few do.
func TestLongPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		ended := b.submitAll(0, 19)
		b.begins(0)
		b.finish(ended[0])
		b.begins(1, 2, 3, 4, 5, 6, 7, 8)
		b.finish(ended[1:9]...)
		b.begins(9, 10, 11, 12)
		b.finish(ended[9:13]...)
		b.begins(13, 14, 15, 16)
		b.finish(ended[13:17]...)
		b.begins(17, 18, 19)
		b.finish(ended[17:]...)
		b.q.close()
	})
}

// A second worker comes for a whole pass, on another P, and no third where there are two.
func TestAnotherWorkerComesForAWholePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 2)
		ended := b.submitAll(0, 3)
		b.begins(0)
		if s := b.q.stats(); s.Queued != 3 {
			t.Errorf("%d wait beside one that computes, want 3: a second worker came for less than a pass", s.Queued)
		}
		ended = append(ended, b.submitAll(4, 12)...)
		b.begins(1, 2, 3, 4)
		if s := b.q.stats(); s.Queued != 8 || s.Workers != 2 {
			t.Errorf("queued %d, workers %d, want 8 and 2", s.Queued, s.Workers)
		}
		for range 4 {
			b.g.open <- struct{}{}
			synctest.Wait()
			select {
			case <-b.g.begun:
			default:
			}
		}
		for _, e := range ended {
			if err := <-e; err != nil {
				t.Error(err)
			}
		}
		b.q.close()
	})
}

func TestFullQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, 1)
		ended := b.submitAll(0, 2)
		b.begins(0)
		err := <-b.submit(t.Context(), 3)
		var full *QueueFullError
		if !errors.As(err, &full) || full.Limit != 2 || !strings.Contains(err.Error(), "2 test operations wait") {
			t.Errorf("got %v", err)
		}
		b.finish(ended[0])
		b.begins(1, 2)
		b.finish(ended[1:]...)
		if s := b.q.stats(); s.Rejected != 1 {
			t.Errorf("%d rejected", s.Rejected)
		}
		b.q.close()
	})
}

// Operations whose caller goes away are taken out of the queue, wherever they stand in it.
func TestCancelledWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		gone := errors.New("client went away")
		ended := b.submitAll(0, 0)
		b.begins(0)
		cancelled := map[int]func(){}
		for n := 1; n <= 6; n++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancelled[n] = func() { cancel(gone) }
			ended = append(ended, b.submit(ctx, n))
		}
		for _, n := range []int{1, 3, 6} { // first, middle, last
			cancelled[n]()
			if err := <-ended[n]; !errors.Is(err, gone) {
				t.Errorf("%d: got %v", n, err)
			}
		}
		b.finish(ended[0])
		b.begins(2, 4, 5)
		b.finish(ended[2], ended[4], ended[5])
		if s := b.q.stats(); s.Cancelled != 3 || s.Queued != 0 {
			t.Errorf("%d cancelled, %d queued", s.Cancelled, s.Queued)
		}
		b.q.close()
		for _, cancel := range cancelled {
			cancel()
		}
	})
}

// One that is computed already is left to the batch: its caller returns, the others get their results.
func TestCancelledWhileComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		ctx, cancel := context.WithCancel(t.Context())
		lone := b.submit(ctx, 1)
		b.begins(1)
		cancel()
		if err := <-lone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		next := b.submit(t.Context(), 2)
		b.finish()
		b.begins(2)
		b.finish(next)
		b.q.close()
	})
}

func TestEndedContextIsNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := <-b.submit(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if s := b.q.stats(); s.Operations() != 0 || s.Cancelled != 1 {
			t.Errorf("%+v", s)
		}
		b.q.close()
	})
}

func TestCloseFinishesWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		ended := b.submitAll(1, 3)
		b.begins(1)
		closed := make(chan struct{})
		go func() { b.q.close(); close(closed) }()
		synctest.Wait()
		if err := <-b.submit(t.Context(), 4); err == nil || !strings.Contains(err.Error(), "is closed") {
			t.Errorf("got %v", err)
		}
		b.finish(ended[0])
		b.begins(2, 3)
		select {
		case <-closed:
			t.Error("closed before the last batch")
		default:
		}
		b.finish(ended[1:]...)
		<-closed
	})
}

func TestWaitAndBatchTimeAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		first := b.submit(t.Context(), 1)
		b.begins(1)
		second := b.submit(t.Context(), 2)
		time.Sleep(time.Millisecond)
		b.finish(first)
		b.begins(2)
		time.Sleep(3 * time.Millisecond)
		b.finish(second)
		synctest.Wait()
		s := b.q.stats()
		if s.Wait.Sum != time.Millisecond || s.Batch.Sum != 4*time.Millisecond || s.Wait.Count() != 2 || s.Batch.Count() != 2 {
			t.Errorf("waited %v (%d times), computed %v (%d times)", s.Wait.Sum, s.Wait.Count(), s.Batch.Sum, s.Batch.Count())
		}
		b.q.close()
	})
}

func TestHistogramBounds(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 16 * time.Microsecond, 17 * time.Microsecond, 600 * time.Millisecond} {
		h.add(d)
	}
	d := h.durations()
	if d.Counts[0] != 2 || d.Counts[1] != 1 || d.Counts[len(d.Counts)-1] != 1 || len(d.Counts) != len(d.Bounds)+1 {
		t.Errorf("%v within %v", d.Counts, d.Bounds)
	}
}

// A caller that goes away does not hide that its result was wrong.
func TestFaultOfSomebodyWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100, 1)
		faults := 0
		b.q.faulty, b.q.onFault = func(n *number) bool { return n.out == -2 }, func() { faults++ }
		ctx, cancel := context.WithCancel(t.Context())
		gone := b.submit(ctx, 2)
		b.begins(2)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.finish()
		synctest.Wait()
		if faults != 1 {
			t.Errorf("%d faults were noted", faults)
		}
		b.q.close()
	})
}
