package batch

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// heapChunks stands in for secret memory: mapped counts what is not freed, and what is freed must be zero.
type heapChunks struct {
	t      *testing.T
	mapped int
	most   int // more is an error
}

func (h *heapChunks) new(size int) ([]byte, func(), error) {
	if h.mapped == h.most {
		return nil, nil, errors.New("used up")
	}
	h.mapped++
	mem := make([]byte, size+line)
	mem = mem[-int(uintptr(unsafe.Pointer(&mem[0])))&(line-1):][:size]
	return mem, func() {
		h.mapped--
		if !bytes.Equal(mem, make([]byte, size)) {
			h.t.Error("freed with something in it")
		}
	}, nil
}

func TestArenaGivesAlignedZeroedSlotsOfTheirOwn(t *testing.T) {
	chunks := &heapChunks{t: t, most: 100}
	a := newArena(chunks.new)
	random := rand.New(rand.NewPCG(1, 2))
	held := map[byte]slot{}
	for i := range 3000 {
		mark := byte(1 + random.IntN(255))
		if s, ok := held[mark]; ok {
			if !bytes.Equal(s.bytes, bytes.Repeat([]byte{mark}, len(s.bytes))) {
				t.Fatalf("slot %d was written by another", mark)
			}
			a.give(s)
			delete(held, mark)
			continue
		}
		n := 1 + random.IntN(6000)
		s, err := a.take(n)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if len(s.bytes) != n || uintptr(unsafe.Pointer(&s.bytes[0]))%line != 0 || !bytes.Equal(s.bytes, make([]byte, n)) {
			t.Fatalf("%d: a slot of %d for %d, or not aligned, or not empty", i, len(s.bytes), n)
		}
		for j := range s.bytes {
			s.bytes[j] = mark
		}
		held[mark] = s
	}
	if chunks.mapped < 2 {
		t.Error("did not grow: the test tests little")
	}
	for _, s := range held {
		a.give(s)
	}
	if chunks.mapped != 0 {
		t.Errorf("%d empty chunks are kept", chunks.mapped)
	}
}

func TestArenaClose(t *testing.T) {
	chunks := &heapChunks{t: t, most: 100}
	a := newArena(chunks.new)
	s, err := a.take(100)
	if err != nil {
		t.Fatal(err)
	}
	s.bytes[0] = 7
	a.close()
	a.close()
	a.give(s)
	if chunks.mapped != 0 {
		t.Error("a chunk is left")
	}
	if _, err := a.take(1); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("take: %v", err)
	}
	if err := a.read(s, func([]byte) { t.Error("read it") }); err == nil {
		t.Error("read: no error")
	}
}

func TestArenaRefuses(t *testing.T) {
	chunks := &heapChunks{t: t, most: 1}
	a := newArena(chunks.new)
	for _, n := range []int{0, -1, chunkSize + 1} {
		if _, err := a.take(n); err == nil {
			t.Errorf("took %d", n)
		}
	}
	if _, err := a.take(chunkSize); err != nil {
		t.Error(err)
	}
	if _, err := a.take(1); err == nil || err.Error() != "used up" {
		t.Errorf("got %v", err)
	}
}
