package tls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"sync"
	"time"
)

// chainCache remembers chains that were found good: the signatures of a leaf and an intermediate are a third of what a mutual
// handshake with ECDSA keys costs. It belongs to what judged them (trusted, Authorities), which is replaced and never changed:
// other bundles, other revocations and another CRL begin with an empty cache, by construction. What it says holds for the very
// bytes that were presented, in one role, as long as every certificate of the path and every list that was looked at is in
// time. Who may be the peer is judged each time.
//
// Only what was verified gets in, so a stranger can't fill it. A peer with a good certificate can, by hanging others on to its
// chain; therefore what is used stays: entries live in two halves, a full young one becomes the old one, and what is found
// there moves back. Chains of a peer that is gone are forgotten in the same way, without a look at the clock.
type chainCache struct {
	mu         sync.Mutex // guards below
	young, old map[chainSum]verified
}

// chainSum names the bytes that were presented and the role in which they were checked.
type chainSum [sha256.Size]byte

// verified is what is known of a chain.
type verified struct {
	id          string // SPIFFE ID; "" where none was asked for
	from, until time.Time
}

// cacheHalf bounds the memory that peers can make us use: two halves of so many entries, each some 200 bytes with its place
// in the map.
const cacheHalf = 4096

// find returns what is known of a chain, if it holds now.
func (c *chainCache) find(key chainSum, now time.Time) (verified, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[key]
	if !ok {
		if v, ok = c.old[key]; ok {
			delete(c.old, key)
			c.keep(key, v)
		}
	}
	return v, ok && !now.Before(v.from) && !now.After(v.until)
}

func (c *chainCache) add(key chainSum, v verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, key)
	c.keep(key, v)
}

// keep puts an entry into the young half; the lock is held.
func (c *chainCache) keep(key chainSum, v verified) {
	if len(c.young) >= cacheHalf {
		c.young, c.old = nil, c.young
	}
	if c.young == nil {
		c.young = map[chainSum]verified{}
	}
	c.young[key] = v
}

// hashes lends states of SHA-256, which would otherwise be allocated for each chain.
var hashes = sync.Pool{New: func() any { return &hasher{Hash: sha256.New()} }}

type hasher struct {
	hash.Hash
	head [9]byte // here, or it would be allocated for each Write
	sum  chainSum
}

func sumOf(chain []*x509.Certificate, peer role) chainSum {
	h := hashes.Get().(*hasher)
	defer hashes.Put(h)
	h.Reset()
	for _, c := range chain {
		// With its length, so that no two lists of certificates are the same bytes.
		h.head[0] = byte(peer)
		binary.BigEndian.PutUint64(h.head[1:], uint64(len(c.Raw)))
		h.Write(h.head[:])
		h.Write(c.Raw)
	}
	h.Sum(h.sum[:0])
	return h.sum
}

// span is when a whole path is in time.
func span(path []*x509.Certificate) (from, until time.Time) {
	from, until = path[0].NotBefore, path[0].NotAfter
	for _, c := range path[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return from, until
}
