package mbecdsa

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"math/big"
	"strings"
	"testing"
)

func TestSignatures(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(1)
		for size := range 2*Ops + 2 {
			ops := batch(t, rnd, size)
			w.Run(ops)
			mustVerify(t, ops)
		}
	})
}

func TestOneKeyInAllLanes(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(2)
		key := newKey(t, scalar(rnd))
		digest := message(rnd, 32)
		ops := make([]*Op, Ops)
		for i := range ops {
			ops[i] = &Op{Key: key, Digest: digest}
		}
		w.Run(ops)
		mustVerify(t, ops)
	})
}

// TestDigests: what counts of a digest is its leftmost 256 bits.
func TestDigests(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(3)
		key := newKey(t, scalar(rnd))
		ones := bytes.Repeat([]byte{0xff}, 64)
		ofOrder := append(order().Bytes(), ones...)
		var ops []*Op
		for _, size := range []int{20, 28, 32, 33, 48, 64} {
			for _, digest := range [][]byte{message(rnd, size), ones[:size], make([]byte, size), ofOrder[:size]} {
				ops = append(ops, &Op{Key: key, Digest: digest})
			}
		}
		w.Run(ops)
		mustVerify(t, ops)
	})
}

// extremes are scalars at the ends of their range and those for which the comb's digits are all alike, or come near to a point
// plus itself (see the comment in comb.go).
func extremes() []*big.Int {
	var all []*big.Int
	for _, near := range []int64{1, 2, 3, 64, 93, 94, 95, 127, 128, 129, 230, 231} {
		all = append(all, big.NewInt(near), new(big.Int).Sub(order(), big.NewInt(near)))
	}
	half := new(big.Int).Rsh(order(), 1)
	all = append(all, half, new(big.Int).Add(half, big.NewInt(1)))
	for _, shift := range []uint{7, 52, 104, 208, 252, 255} {
		power := new(big.Int).Lsh(big.NewInt(1), shift)
		all = append(all, power, new(big.Int).Sub(power, big.NewInt(1)), new(big.Int).Add(power, big.NewInt(1)))
	}
	thirty := new(big.Int).Lsh(big.NewInt(30), 252)
	return append(all, thirty.Sub(thirty, order())) // low digits first, this one would add a point to itself
}

// TestChosenNonces compares r and s with the textbook's.
func TestChosenNonces(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(4)
		nonces := extremes()
		for range 40 {
			nonces = append(nonces, scalar(rnd))
		}
		keys := extremes()
		for i := 0; i+Ops <= len(nonces); i += Ops {
			ops := batch(t, rnd, Ops)
			for l, op := range ops {
				if i < len(keys)-Ops {
					op.Key = newKey(t, keys[i+l])
				}
			}
			mustMatch(t, w, ops, nonces[i:i+Ops])
		}
	})
}

// mustMatch signs with given nonces.
func mustMatch(t *testing.T, w *Worker, ops []*Op, nonces []*big.Int) {
	t.Helper()
	w.load(ops)
	w.draw(&w.block.k)
	ds := make([]*big.Int, len(ops))
	for l, op := range ops {
		w.block.k.set(l, nonces[l])
		b, err := op.Key.restore()
		if err != nil {
			t.Fatal(err)
		}
		ds[l] = b
	}
	w.point()
	w.solve()
	sound := w.check(ops)
	for l, op := range ops {
		r, s := signWith(ds[l], nonces[l], op.Digest)
		if got := w.block.r.get(l); got.Cmp(r) != 0 {
			t.Errorf("nonce %x: r = %x, want %x", nonces[l], got, r)
		}
		if got := w.block.s.get(l); got.Cmp(s) != 0 {
			t.Errorf("nonce %x, key %x: s = %x, want %x", nonces[l], ds[l], got, s)
		}
		if sound>>l&1 == 0 {
			t.Errorf("nonce %x: a correct signature does not pass the check", nonces[l])
		}
	}
}

// restore reads the private key back.
func (k *Key) restore() (*big.Int, error) {
	d := new(big.Int)
	for _, w := range k.secret.seed {
		d.Lsh(d, 32).Or(d, big.NewInt(int64(w)))
	}
	if d.Sign() == 0 {
		return nil, errors.New("the key is destroyed")
	}
	return d, nil
}

// TestRFC6979 takes key, nonces and signatures of "sample" from RFC 6979, section A.2.5: digests shorter and longer than the
// order.
func TestRFC6979(t *testing.T) {
	number := func(s string) *big.Int {
		x, ok := new(big.Int).SetString(s, 16)
		if !ok {
			t.Fatal(s)
		}
		return x
	}
	d := number("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	vectors := []struct {
		hash    func() hash.Hash
		k, r, s string
	}{
		{sha1.New, "882905F1227FD620FBF2ABF21244F0BA83D0DC3A9103DBBEE43A1FB858109DB4",
			"61340C88C3AAEBEB4F6D667F672CA9759A6CCAA9FA8811313039EE4A35471D32",
			"6D7F147DAC089441BB2E2FE8F7A3FA264B9C475098FDCF6E00D7C996E1B8B7EB"},
		{sha256.New, "A6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60",
			"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"},
		{sha512.New384, "09F634B188CEFD98E7EC88B1AA9852D734D0BC272F7D2A47DECC6EBEB375AAD4",
			"0EAFEA039B20E9B42309FB1D89E213057CBF973DC0CFC8F129EDDDC800EF7719",
			"4861F0491E6998B9455193E34E7B0D284DDD7149A74B95B9261F13ABDE940954"},
		{sha512.New, "5FA81C63109BADB88C1F367B47DA606DA28CAD69AA22C4FE6AD7DF73A7173AA5",
			"8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
			"2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE"},
	}
	each(t, func(t *testing.T, w *Worker) {
		var ops []*Op
		for _, v := range vectors {
			h := v.hash()
			h.Write([]byte("sample"))
			ops = append(ops, &Op{Key: newKey(t, d), Digest: h.Sum(nil)})
		}
		w.load(ops)
		w.draw(&w.block.k)
		for l, v := range vectors {
			w.block.k.set(l, number(v.k))
		}
		w.point()
		w.solve()
		w.release(ops, w.check(ops))
		mustVerify(t, ops)
		for l, v := range vectors {
			if w.block.r.get(l).Cmp(number(v.r)) != 0 || w.block.s.get(l).Cmp(number(v.s)) != 0 {
				t.Errorf("%x: r = %x, s = %x, want %s, %s", ops[l].Digest, w.block.r.get(l), w.block.s.get(l), v.r, v.s)
			}
		}
	})
}

// TestRefusals: an operation that is refused touches no other.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(5)
		ops := batch(t, rnd, 6)
		dead := newKey(t, scalar(rnd))
		dead.Destroy()
		ops[0].Key = nil
		ops[2].Key = dead
		ops[3].Digest = message(rnd, 19)
		ops[4].Digest = message(rnd, 65)
		for _, op := range ops {
			op.Sig = []byte("old")
		}
		w.Run(ops)
		mustVerify(t, []*Op{ops[1], ops[5]})
		for i, want := range map[int]string{0: "without a key", 2: "destroyed", 3: "19 bytes", 4: "65 bytes"} {
			if ops[i].Err == nil || !strings.Contains(ops[i].Err.Error(), want) || ops[i].Sig != nil {
				t.Errorf("operation %d: signature %x, error %v, want none and one with %q", i, ops[i].Sig, ops[i].Err, want)
			}
		}
		ops[0].Key, ops[2].Key, ops[3].Digest, ops[4].Digest = ops[1].Key, ops[1].Key, ops[1].Digest, ops[1].Digest
		w.Run(ops)
		mustVerify(t, ops)

		w.Close()
		if w.Run(ops); ops[0].Err == nil || ops[0].Sig != nil {
			t.Error("a closed worker signs")
		}
	})
}

// TestSigIsReused: no allocation where the caller brings room.
func TestSigIsReused(t *testing.T) {
	w := NewWorker()
	ops := batch(t, seeded(6), Ops)
	for _, op := range ops {
		op.Sig = make([]byte, 0, 72)
	}
	if allocs := testing.AllocsPerRun(20, func() { w.Run(ops) }); allocs != 0 {
		t.Errorf("%v allocations a run", allocs)
	}
	mustVerify(t, ops)
}

func TestBlockIsCleared(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		for _, size := range []int{1, Ops} {
			w.Run(batch(t, seeded(7), size))
			for i, b := range bytesOf(w.block) {
				if b != 0 {
					t.Fatalf("after a run of %d, byte %d of the work block is %#x", size, i, b)
				}
			}
		}
	})
}

func TestNewKey(t *testing.T) {
	d := scalar(seeded(8))
	priv := privateKey(t, d)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := *priv
	stranger.PublicKey = privateKey(t, big.NewInt(2)).PublicKey
	memory := make([]byte, SecretLen+8)
	for _, c := range []struct {
		priv   *ecdsa.PrivateKey
		memory []byte
		want   string
	}{
		{nil, memory, "not a P-256"},
		{p384, memory, "not a P-256"},
		{priv, memory[:SecretLen-1], "SecretLen"},
		{priv, memory[1:], "multiple of 8"},
		{&stranger, memory, "does not belong"},
	} {
		if _, err := NewKey(c.priv, c.memory); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	key, err := NewKey(priv, memory)
	if err != nil {
		t.Fatal(err)
	}
	if !key.Public().Equal(&priv.PublicKey) {
		t.Error("another public key")
	}
	if got, err := key.restore(); err != nil || got.Cmp(d) != 0 {
		t.Errorf("%x, %v: want %x", got, err, d)
	}
	key.Destroy()
	key.Destroy()
	if !bytes.Equal(memory, make([]byte, len(memory))) {
		t.Error("Destroy leaves something of the secret")
	}
}

// TestNewKeyAtTheEnds: d = 1 makes the second form 0.
func TestNewKeyAtTheEnds(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		last := new(big.Int).Sub(order(), big.NewInt(1))
		ops := batch(t, seeded(9), 4)
		ops[1].Key, ops[2].Key = newKey(t, big.NewInt(1)), newKey(t, last)
		w.Run(ops)
		mustVerify(t, ops)
	})
}

func TestEncoding(t *testing.T) {
	for _, c := range []struct {
		x    [4]uint64
		want []byte
	}{
		{[4]uint64{1}, []byte{2, 1, 1}},
		{[4]uint64{0x7f}, []byte{2, 1, 0x7f}},
		{[4]uint64{0x80}, []byte{2, 2, 0, 0x80}},
		{[4]uint64{0, 1}, []byte{2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
		{[4]uint64{1 << 63}, []byte{2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		{[4]uint64{3, 0, 0, 1 << 63}, append(append([]byte{2, 33, 0, 0x80}, make([]byte, 30)...), 3)},
		{[4]uint64{3, 0, 0, 1 << 62}, append(append([]byte{2, 32, 0x40}, make([]byte, 30)...), 3)},
	} {
		if got := appendInteger(nil, c.x); !bytes.Equal(got, c.want) {
			t.Errorf("%x: %x, want %x", c.x, got, c.want)
		}
	}
}

// FuzzSign signs with any key, nonce and digest, and compares with the textbook.
func FuzzSign(f *testing.F) {
	f.Add([]byte{1}, []byte{1}, make([]byte, 32))
	last, near := new(big.Int).Sub(order(), big.NewInt(1)), new(big.Int).Sub(order(), big.NewInt(94))
	f.Add(last.Bytes(), near.Bytes(), bytes.Repeat([]byte{0xff}, 64))
	f.Add(bytes.Repeat([]byte{0x7f}, 32), bytes.Repeat([]byte{0xaa}, 32), make([]byte, 20))
	w := NewWorker()
	f.Fuzz(func(t *testing.T, d, k, digest []byte) {
		key := new(big.Int).Mod(new(big.Int).SetBytes(d), order())
		nonce := new(big.Int).Mod(new(big.Int).SetBytes(k), order())
		if key.Sign() == 0 || nonce.Sign() == 0 || len(digest) < minDigest || len(digest) > maxDigest {
			t.Skip()
		}
		mustMatch(t, w, []*Op{{Key: newKey(t, key), Digest: digest}}, []*big.Int{nonce})
	})
}
