package mbecdsa

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
)

const (
	minDigest = 20 // SHA-1
	maxDigest = 64 // SHA-512
)

// Worker has the memory that passes compute in. One goroutine at a time uses it.
type Worker struct {
	backend
	block *block
	table *[combWindows]window
	dummy secret // d = 1, for lanes without an operation
}

// NewWorker returns a Worker on the kernels where the CPU has what they need, else on Go code. The first one of the process
// computes the table of the base point, for some 30 ms.
func NewWorker() *Worker { return newWorker(Supported() == nil) }

func newWorker(kernels bool) *Worker {
	w := &Worker{backend: portable, block: alignedNew[block](), table: baseTable()}
	if kernels {
		w.backend = assembly
	}
	var one [32]byte
	one[31] = 1
	w.dummy.fill(one[:])
	return w
}

// Close makes the Worker unusable. Its block is clear already.
func (w *Worker) Close() { w.block = nil }

// Run signs all of ops, Ops at a time. Each has its Sig or its Err afterwards.
func (w *Worker) Run(ops []*Op) {
	if w.block == nil {
		for _, op := range ops {
			op.Sig, op.Err = nil, errors.New("mbecdsa: the worker is closed")
		}
		return
	}
	for len(ops) > 0 {
		some := min(len(ops), Ops)
		w.pass(ops[:some])
		ops = ops[some:]
	}
}

// pass signs up to eight.
func (w *Worker) pass(ops []*Op) {
	defer clear(bytesOf(w.block)) // the kernels cleared their registers
	w.load(ops)
	w.draw(&w.block.k)
	w.point()
	w.solve()
	w.release(ops, w.check(ops))
	runtime.KeepAlive(ops) // keys may lie in memory that is freed once their owner is gone
}

// load fills the lanes. A lane whose operation is refused, or that has none, signs zeros with the key 1.
func (w *Worker) load(ops []*Op) {
	b := w.block
	rand.Read(bytesOf(&b.random)) // never fails: crypto/rand ends the process first
	for l := range Ops {
		key := &w.dummy
		if l < len(ops) {
			op := ops[l]
			if op.Err = op.refuse(); op.Err == nil {
				key = op.Key.secret
			}
		}
		b.setKey(l, key)
		b.drbg.setNoise(l, &b.random[l])
	}
	b.setDigests(&b.z, ops)
	b.z.words(&b.drbg.digest)
}

// setKey gives lane l its key.
func (b *block) setKey(l int, key *secret) {
	for j := range limbs {
		b.d[j][l], b.rest[j][l] = key.d[j], key.rest[j]
	}
	for i := range key.seed {
		b.drbg.key[i][l] = key.seed[i]
	}
}

// setDigests sets z to the digests modulo n; refused operations and idle lanes have zeros.
func (b *block) setDigests(z *element, ops []*Op) {
	for l := range Ops {
		var leftmost [32]byte
		if l < len(ops) && ops[l].Err == nil {
			leftmost = leftmost256(ops[l].Digest)
		}
		for i := range 8 {
			b.drbg.digest[i][l] = binary.BigEndian.Uint32(leftmost[4*i:])
		}
	}
	z.setWords(&b.drbg.digest)
	n.reduce(z)
}

// leftmost256 is the part of a digest that is signed, as FIPS 186-5, section 6.4.1 says: the leftmost 256 bits, or all where
// there are fewer.
func leftmost256(digest []byte) (b [32]byte) {
	copy(b[max(0, len(b)-len(digest)):], digest)
	return b
}

// refuse says what is wrong with an operation, or nil.
func (op *Op) refuse() error {
	switch {
	case op.Key == nil:
		return errors.New("mbecdsa: an operation without a key")
	case op.Key.dead.Load():
		return errors.New("mbecdsa: the key was destroyed")
	case len(op.Digest) < minDigest || len(op.Digest) > maxDigest:
		return fmt.Errorf("mbecdsa: a digest of %d bytes: sign the hash of a message, %d to %d bytes",
			len(op.Digest), minDigest, maxDigest)
	}
	return nil
}

// release hands out the signatures that are sound and withholds all others.
func (w *Worker) release(ops []*Op, sound uint8) {
	for l, op := range ops {
		switch {
		case op.Err != nil:
			op.Sig = nil
		case sound>>l&1 == 0:
			op.Sig, op.Err = nil, ErrFault
		default:
			op.Sig = appendSignature(op.Sig[:0], w.block.r.lane(l), w.block.s.lane(l))
		}
	}
}

// appendSignature writes SEQUENCE { INTEGER r, INTEGER s } in DER. Both are public by now.
func appendSignature(to []byte, r, s [4]uint64) []byte {
	at := len(to)
	to = append(to, 0x30, 0)
	to = appendInteger(to, r)
	to = appendInteger(to, s)
	to[at+1] = byte(len(to) - at - 2) // at most 70
	return to
}

func appendInteger(to []byte, x [4]uint64) []byte {
	size := 1 // in bytes, with room for a sign bit of 0
	for i, v := range x {
		if v != 0 {
			size = 8*i + bits.Len64(v)/8 + 1
		}
	}
	to = append(to, 0x02, byte(size))
	for i := size - 1; i >= 0; i-- {
		var octet byte
		if i < 32 {
			octet = byte(x[i/8] >> (8 * (i % 8)))
		}
		to = append(to, octet)
	}
	return to
}
