package batch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// QueueFullError says that so many operations of one key size wait already that another one would only be late. It is the
// caller's sign to refuse new handshakes, which are bounded further up for that reason.
type QueueFullError struct {
	Algorithm keyprovider.Algorithm
	Limit     int
}

func (e *QueueFullError) Error() string {
	return fmt.Sprintf("%s key provider: the queue is full: %d %s operations wait already", Name, e.Limit, e.Algorithm)
}

// kernel computes up to a pass of operations at a time, for one goroutine.
type kernel[O any] interface{ Run(ops []*O) }

// passes are how many operations are computed at once. The short one is what the kernels do at about the cost of a single
// operation. The long one is a little cheaper an operation (two passes of mbrsa share one check: some 2 %), and keeps the
// first results back until the last: it is for when so many wait that throughput is their latency.
type passes struct{ short, long int }

// take is how many of those that wait are the next batch. With 5 to 8 operations waiting for passes of 4 the first 4 are
// delivered half a batch earlier, and the others no later.
func (p passes) take(waiting int) int {
	if waiting >= 2*p.long {
		return p.long
	}
	return min(waiting, p.short)
}

// queue is where the operations of one kind meet. Nobody waits for company: the first operation starts a worker, and
// those that arrive while it is on its way or computes are its next batch. Workers are goroutines that end when nothing is
// queued any more; starting one costs a thousandth of a pass.
type queue[O any] struct {
	algorithm keyprovider.Algorithm
	passes    passes
	limit     int           // operations that may wait
	faulty    func(*O) bool // tells an operation whose result failed its check; nil: there is no check
	onFault   func()        // counts and logs one, whether its caller still waits or not
	kernels   sync.Pool
	workers   sync.WaitGroup
	counters

	mu          sync.Mutex // guards below
	first, last *job[O]    // the waiting ones
	waiting     int
	running     int // workers
	coming      int // of them: on their way to the queue; the others compute
	closed      bool
}

// job is one operation in the queue. It and the buffers of its op are the queue's until done is closed: a caller that goes
// away leaves them behind.
type job[O any] struct {
	op   O
	keep any // what must not be collected before the operation has ended

	done       chan struct{}
	since      time.Time
	prev, next *job[O]
	queued     bool
}

func newQueue[O any](alg keyprovider.Algorithm, p passes, limit int, newKernel func() kernel[O]) *queue[O] {
	q := &queue[O]{algorithm: alg, passes: p, limit: limit}
	q.batches = make([]atomic.Uint64, p.long)
	q.kernels.New = func() any { return newKernel() }
	return q
}

// do has an operation computed, and returns when that is done: only after nil may the op be looked at.
func (q *queue[O]) do(ctx context.Context, j *job[O]) error {
	if ctx.Err() != nil {
		return q.gaveUp(ctx)
	}
	j.done, j.since = make(chan struct{}), time.Now()
	if err := q.add(j); err != nil {
		return err
	}
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		q.remove(j) // if it is computed already, it is so for nobody
		return q.gaveUp(ctx)
	}
}

func (q *queue[O]) gaveUp(ctx context.Context) error {
	q.cancelled.Add(1)
	return fmt.Errorf("%s key provider: gave up the %s operation: %w", Name, q.algorithm, context.Cause(ctx))
}

func (q *queue[O]) add(j *job[O]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed()
	}
	if q.waiting >= q.limit {
		q.rejected.Add(1)
		return &QueueFullError{q.algorithm, q.limit}
	}
	j.queued, j.prev = true, q.last
	if q.last == nil {
		q.first = j
	} else {
		q.last.next = j
	}
	q.last = j
	q.waiting++
	if q.wantsWorker() {
		q.running++
		q.coming++
		q.workers.Go(q.work)
	}
	return nil
}

// wantsWorker: the first one comes for anything, another one for a whole pass beyond what those on their way will take, as
// long as there is a P for it. A pass costs about as much with one operation as with all, so a second worker for less would
// spend CPU that others need to save at most the rest of a pass.
func (q *queue[O]) wantsWorker() bool {
	if q.running == 0 {
		return true
	}
	return q.waiting >= q.passes.short*(q.coming+1) && q.running < runtime.GOMAXPROCS(0)
}

// remove takes a job back if nobody has begun with it.
func (q *queue[O]) remove(j *job[O]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.queued {
		q.unlink(j)
	}
}

func (q *queue[O]) unlink(j *job[O]) {
	if j.prev == nil {
		q.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		q.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.prev, j.next, j.queued = nil, nil, false
	q.waiting--
}

// work computes batches until nothing waits.
func (q *queue[O]) work() {
	k := q.kernels.Get().(kernel[O])
	defer q.kernels.Put(k)
	jobs, ops := make([]*job[O], 0, q.passes.long), make([]*O, 0, q.passes.long)
	for {
		// Whoever is woken or started by a goroutine runs right after it, before all others that are ready: without this,
		// each batch would be of one on a busy P. Now all that can run reach their operation first.
		runtime.Gosched()
		if jobs = q.take(jobs[:0]); len(jobs) == 0 {
			return
		}
		ops = ops[:0]
		began := time.Now()
		for _, j := range jobs {
			q.wait.add(began.Sub(j.since))
			ops = append(ops, &j.op)
		}
		k.Run(ops)
		q.report(ops)
		q.batch.add(time.Since(began))
		q.batches[len(jobs)-1].Add(1)
		for _, j := range jobs {
			close(j.done)
		}
		runtime.KeepAlive(jobs) // and with them what they keep
		clear(jobs)
		clear(ops)
		q.comeBack()
	}
}

// report notes results that failed their check. A caller that went away must not hide one.
func (q *queue[O]) report(ops []*O) {
	for _, op := range ops {
		if q.faulty != nil && q.faulty(op) {
			q.onFault()
		}
	}
}

// take removes the oldest jobs, a batch of them. None: the caller's time as a worker is over.
func (q *queue[O]) take(jobs []*job[O]) []*job[O] {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.coming--
	for range q.passes.take(q.waiting) {
		j := q.first
		q.unlink(j)
		jobs = append(jobs, j)
	}
	if len(jobs) == 0 {
		q.running--
	}
	return jobs
}

func (q *queue[O]) comeBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.coming++
}

// prepare makes a kernel that takes long to make, and then calls ready.
func (q *queue[O]) prepare(ready func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.workers.Go(func() {
		q.kernels.Put(q.kernels.New())
		ready()
	})
}

func (q *queue[O]) stats() QueueStats {
	s := q.counters.stats()
	s.Algorithm = q.algorithm
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Queued, s.Workers = q.waiting, q.running-q.coming
	return s
}

// close refuses new operations and waits for the others.
func (q *queue[O]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.workers.Wait()
}
