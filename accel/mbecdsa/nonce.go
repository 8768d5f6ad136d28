package mbecdsa

import "encoding/binary"

// Nonces come from one HMAC_DRBG with SHA-256 a lane, as in RFC 6979, section 3.2, seeded besides the private key and the
// digest with 32 fresh random bytes, in the layout of draft-irtf-cfrg-det-sigs-with-noise (and of crypto/ecdsa): a broken
// random source leaves RFC 6979, a fault or a leak of what a deterministic signature computes twice is not repeatable.

// words is one 32-bit word of each lane.
type words [Ops]uint32

// drbg is the state of eight generators side by side.
type drbg struct {
	noise        [9]words // byte 0 is left to update's tag; then 32 random bytes; then zeros
	key          [8]words // the private key
	digest       [8]words // the digest modulo n
	k, v         [8]words
	inner, outer [8]words // SHA-256 after the first block of HMAC's inner and outer hash under k
	h            [8]words
	m            [16]words
}

// setNoise gives lane l its 32 fresh random bytes.
func (d *drbg) setNoise(l int, random *[32]byte) {
	var last uint32
	for i := range 8 {
		next := binary.BigEndian.Uint32(random[4*i:])
		d.noise[i][l] = last<<24 | next>>8
		last = next
	}
	d.noise[8][l] = last << 24
}

// draw sets k to a number of 1..n-1 for each lane. A candidate outside is thrown away and the next drawn: that this happened
// says nothing about the one that is kept.
func (w *Worker) draw(k *element) {
	d := &w.block.drbg
	for i := range d.v {
		d.k[i] = words{}
		d.v[i].setAll(0x01010101)
	}
	for tag := range uint32(2) {
		w.setKey()
		w.seed(tag)
		w.setKey()
		w.next()
	}
	w.next()
	for drawn := w.take(k, 0); drawn != 1<<Ops-1; drawn = w.take(k, drawn) {
		w.step()
		w.setKey()
		w.next()
		w.next()
	}
}

// take moves the candidates that are in range to k, in the lanes that have none yet, and returns which lanes have one.
func (w *Worker) take(k *element, have uint8) uint8 {
	d := &w.block.drbg
	c := &w.block.tmp[0]
	c.setWords(&d.v)
	for l := range Ops {
		var borrow, nonZero uint64
		for j := range limbs {
			borrow = (c[j][l] - n.m[j] - borrow) >> 63
			nonZero |= c[j][l]
		}
		accept := borrow &^ isZero(nonZero) &^ (uint64(have) >> l)
		for j := range limbs {
			k[j][l] ^= (k[j][l] ^ c[j][l]) & -accept
		}
		have |= uint8(accept) << l
	}
	return have
}

// setKey prepares HMAC under k.
func (w *Worker) setKey() {
	d := &w.block.drbg
	w.pad(&d.inner, 0x36363636)
	w.pad(&d.outer, 0x5c5c5c5c)
}

func (w *Worker) pad(h *[8]words, with uint32) {
	d := &w.block.drbg
	for i := range d.m {
		d.m[i].setAll(with)
	}
	for i := range d.k {
		d.m[i].xor(&d.k[i])
	}
	setInitial(h)
	w.compress(h, &d.m, &sha256K)
}

// seed sets k = HMAC(k, v || tag || noise || 0... || key || 0... || digest): noise and key are filled up to whole blocks.
func (w *Worker) seed(tag uint32) {
	d := &w.block.drbg
	d.h = d.inner

	copy(d.m[:8], d.v[:])
	copy(d.m[8:], d.noise[:8])
	for l := range Ops {
		d.m[8][l] |= tag << 24
	}
	w.compress(&d.h, &d.m, &sha256K)

	clear(d.m[:])
	d.m[0] = d.noise[8]
	w.compress(&d.h, &d.m, &sha256K)

	d.m[0] = words{}
	copy(d.m[:8], d.key[:])
	w.compress(&d.h, &d.m, &sha256K)

	copy(d.m[:8], d.digest[:])
	d.finish(4*64 + 32)
	w.compress(&d.h, &d.m, &sha256K)
	w.finishOuter(&d.k)
}

// next sets v = HMAC(k, v).
func (w *Worker) next() {
	d := &w.block.drbg
	d.h = d.inner
	copy(d.m[:8], d.v[:])
	d.finish(64 + 32)
	w.compress(&d.h, &d.m, &sha256K)
	w.finishOuter(&d.v)
}

// step sets k = HMAC(k, v || 0).
func (w *Worker) step() {
	d := &w.block.drbg
	d.h = d.inner
	copy(d.m[:8], d.v[:])
	d.finish(64 + 33)
	d.m[8].setAll(0x00800000) // the byte 0, then the padding
	w.compress(&d.h, &d.m, &sha256K)
	w.finishOuter(&d.k)
}

// finishOuter is the outer hash over h.
func (w *Worker) finishOuter(to *[8]words) {
	d := &w.block.drbg
	*to = d.outer
	copy(d.m[:8], d.h[:])
	d.finish(64 + 32)
	w.compress(to, &d.m, &sha256K)
}

// finish fills the second half of the last block: SHA-256's padding for a message of so many bytes in all.
func (d *drbg) finish(length uint32) {
	clear(d.m[8:])
	d.m[8].setAll(1 << 31)
	d.m[15].setAll(8 * length)
}

func (x *words) setAll(w uint32) {
	for l := range x {
		x[l] = w
	}
}

func (x *words) xor(y *words) {
	for l := range x {
		x[l] ^= y[l]
	}
}
