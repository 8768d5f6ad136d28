package mbecdsa

// Inverses are powers: x^(p-2) modulo p, x^(n-2) modulo n. The exponents are known to everybody, and so is what is done in
// which order. One power is a chain of squarings that wait for each other and leave the processor half idle: both are raised
// in step.

// powers are the numbers of one chain; the first is x.
type powers struct {
	slots [17]element
	at    element // squared so far
}

// link is a step of a chain: slots[to] = slots[from]^(2^times) * slots[by].
type link struct{ to, from, times, by int }

// chainP raises to p-2: in binary 32 ones, 31 zeros, 1, 96 zeros, 94 ones, 01. Slots are named by the ones in their exponents.
var chainP = func() []link {
	const one, two, three, six, thirty, thirtyTwo, z = 0, 1, 2, 3, 4, 5, inverseP
	return []link{
		{two, one, 1, one},
		{three, two, 1, one},
		{six, three, 3, three},
		{thirty, six, 6, six},        // 12
		{thirty, thirty, 3, three},   // 15
		{thirty, thirty, 15, thirty}, // 30
		{thirtyTwo, thirty, 2, two},
		{z, thirtyTwo, 32, one},
		{z, z, 128, thirtyTwo},
		{z, z, 32, thirtyTwo},
		{z, z, 30, thirty},
		{z, z, 2, one},
	}
}()

// chainN raises to n-2: in hexadecimal ffffffff00000000ffffffffffffffff and 32 more digits, of which it takes one a link.
// Slot i holds x^(i+1).
var chainN = func() []link {
	const x, f, ones, z = 0, 14, 15, inverseN
	var chain []link
	for i := 1; i <= f; i++ {
		chain = append(chain, link{i, i - 1, 0, x})
	}
	chain = append(chain,
		link{ones, f, 4, f},
		link{ones, ones, 8, ones},
		link{ones, ones, 16, ones}, // 32 ones
		link{z, ones, 64, ones},
		link{z, z, 32, ones})
	zeros := 0
	for _, half := range [2]uint64{0xbce6faada7179e84, 0xf3b9cac2fc63254f} {
		for shift := 60; shift >= 0; shift -= 4 {
			zeros += 4
			if digit := int(half >> shift & 15); digit != 0 {
				chain = append(chain, link{z, z, zeros, digit - 1})
				zeros = 0
			}
		}
	}
	return chain
}()

// The slots that the inverses are in at the end.
const (
	inverseP = 6
	inverseN = 16
)

// invert raises powP and powN: from slot 0, in Montgomery form, to the inverse, in Montgomery form. The inverse of 0 is 0.
func (w *Worker) invert() {
	b := w.block
	mod := climb{powers: &b.powP, chain: chainP}
	ord := climb{powers: &b.powN, chain: chainN}
	for {
		mod.step(w.mulP)
		ord.step(w.mulN)
		switch times := min(mod.left, ord.left); {
		case times > 0:
			w.squareBoth(&mod.at, &mod.at, &ord.at, &ord.at, times)
			mod.left, ord.left = mod.left-times, ord.left-times
		case mod.left > 0:
			w.squareP(&mod.at, &mod.at, mod.left)
			mod.left = 0
		case ord.left > 0:
			w.squareN(&ord.at, &ord.at, ord.left)
			ord.left = 0
		default:
			return
		}
	}
}

// climb is how far a chain is.
type climb struct {
	*powers
	chain []link // what is left of it
	begun bool   // the first of these
	left  int    // squarings before its product
}

// step does what needs no squaring before it.
func (c *climb) step(mul func(z, x, y *element)) {
	for c.left == 0 && len(c.chain) > 0 {
		l := c.chain[0]
		if c.begun = !c.begun; c.begun {
			c.at, c.left = c.slots[l.from], l.times
			continue
		}
		mul(&c.slots[l.to], &c.at, &c.slots[l.by])
		c.chain = c.chain[1:]
	}
}
