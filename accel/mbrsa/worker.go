package mbrsa

import (
	"errors"
	"fmt"
)

// Worker runs passes for keys of one size. It is for one goroutine at a time.
type Worker struct {
	size    size
	half    width // for numbers of the length of a prime
	full    width // for numbers of the length of N
	block   *block
	dummy   *dummy
	disturb disturbance
}

// width is the kernels for all eight lanes, and for as many operations as four lanes hold.
type width struct{ wide, narrow kernels }

func (w *width) lanes(n int) *kernels {
	if n <= lanes/2 {
		return &w.narrow
	}
	return &w.wide
}

// NewWorker makes a worker for keys of so many bits: 2048, 3072 or 4096. It runs everywhere; Supported says whether fast.
func NewWorker(bits int) *Worker { return newWorker(bits, Supported() == nil) }

// newWorker is NewWorker with the choice of kernels, for tests.
func newWorker(bits int, fast bool) *Worker {
	s, ok := sizeOf(bits)
	if !ok {
		panic(fmt.Sprintf("mbrsa: no keys of %d bits: ask SecretLen first", bits))
	}
	w := &Worker{size: s, block: newBlock(s), dummy: newDummy(s)}
	w.half, w.full = width{portable(), portable()}, width{portable(), portable()}
	if fast {
		w.half = width{assembly(s.limbs, false), assembly(s.limbs, true)}
		w.full = width{assembly(2*s.limbs, false), assembly(2*s.limbs, true)}
	}
	return w
}

// Run computes ops, any number of them, and sets each one's Out and Err. An Op's error does not touch the others. When it
// returns, neither the work block nor a vector register holds anything of them.
func (w *Worker) Run(ops []*Op) {
	if w.block == nil {
		for _, op := range ops {
			op.fail(errors.New("mbrsa: the worker is closed"))
		}
		return
	}
	var batch [2 * Ops]*Op
	have := 0
	for _, op := range ops {
		if err := w.check(op); err != nil {
			op.fail(err)
			continue
		}
		op.Err = nil
		if batch[have], have = op, have+1; have == len(batch) {
			w.run(batch[:])
			have = 0
		}
	}
	if have > 0 {
		w.run(batch[:have])
	}
}

// check says why op can't be computed.
func (w *Worker) check(op *Op) error {
	k := op.Key
	switch {
	case k == nil:
		return errors.New("mbrsa: an operation without a key")
	case k.secret == nil:
		return errors.New("mbrsa: the key was destroyed")
	case k.size.bits != w.size.bits:
		return fmt.Errorf("mbrsa: a key of %d bits for a worker of %d", k.size.bits, w.size.bits)
	case len(op.In) != k.Size():
		return fmt.Errorf("mbrsa: the input has %d bytes, want the length of the modulus, %d", len(op.In), k.Size())
	case len(op.Out) != k.Size():
		return fmt.Errorf("mbrsa: room for %d bytes, want the length of the modulus, %d", len(op.Out), k.Size())
	}
	x := w.block.full.x[:len(k.n)]
	setBytes(x, 1, op.In)
	inRange := less(x, k.n) == 1
	clear(x)
	if !inRange {
		return errors.New("mbrsa: the input is not less than the modulus")
	}
	return nil
}

func (op *Op) fail(err error) {
	clear(op.Out)
	op.Err = err
}

// disturbance is how tests damage what is computed; nil outside them.
type disturbance func(stage, *block)

type stage int

const (
	afterPower stage = iota
	afterRecombination
)

func (d disturbance) at(s stage, b *block) {
	if d != nil {
		d(s, b)
	}
}

// Close frees the work block.
func (w *Worker) Close() { w.block = nil }
