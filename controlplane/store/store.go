// Package store keeps records and tells what changes. It is the one place where a mesh's intent is durable.
//
// A Store is dumb on purpose: it knows keys, bytes and revisions, no kinds. Typed reads and writes of resources are
// in Resources, which every caller but a backend uses. Backends: memory, bolt. All of them run storetest.
package store

import (
	"context"
	"errors"

	"github.com/hauberk-mesh/hauberk/api"
)

// Revision counts the committed transactions of a store, from 1. It is the generation of DESIGN section 4: each change
// of configuration has one, proxies say which they run, and apply --wait waits for it.
type Revision uint64

// Record is one stored value. Value is shared and must not be changed.
type Record struct {
	Key      api.Key
	Value    []byte
	Revision Revision // of the transaction that wrote it last
}

// Op is one write of a transaction. Value nil deletes.
type Op struct {
	Key   api.Key
	Value []byte
	// If is the condition of optimistic concurrency: IfAny, IfAbsent, or the revision that the record must have.
	If Condition
}

// Condition is what must hold of a record for an Op to be carried out.
type Condition struct {
	kind     uint8
	revision Revision
}

// The three conditions. IfAny is the zero value. A delete of what is absent is ErrNotFound under IfAny too.
var (
	IfAny    = Condition{}
	IfAbsent = Condition{kind: 1}
)

// IfRevision holds where the record was last written at r.
func IfRevision(r Revision) Condition { return Condition{kind: 2, revision: r} }

// Holds tells whether the condition is met by a record (nil: absent). Backends call it.
func (c Condition) Holds(r *Record) bool {
	switch c.kind {
	case 1:
		return r == nil
	case 2:
		return r != nil && r.Revision == c.revision
	default:
		return true
	}
}

// Errors of all backends, to be tested with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("was changed meanwhile") // a Condition did not hold; nothing was written
	ErrClosed   = errors.New("store is closed")
)

// Selector chooses records. An empty field chooses all.
type Selector struct {
	Kind, Mesh string
}

// Event is one committed transaction, whole: watchers never see half of one.
type Event struct {
	Revision Revision
	Changes  []Change
}

// Change is what a transaction did to one key. Old or New is nil where the record was absent before or after.
type Change struct {
	Key      api.Key
	Old, New *Record
}

// Store is what a backend implements.
type Store interface {
	// Get returns the record or ErrNotFound.
	Get(ctx context.Context, key api.Key) (Record, error)
	// List returns the chosen records sorted by key, and the revision at which that was the whole truth.
	List(ctx context.Context, sel Selector) ([]Record, Revision, error)
	// Txn carries out all ops or none, and returns when they are durable. The revision is the transaction's own.
	// A transaction without ops, or with two ops for one key, is an error.
	Txn(ctx context.Context, ops ...Op) (Revision, error)
	// Watch first gives all records and their revision, then every later transaction in order, none left out.
	// It ends with ctx; a watcher that falls behind blocks nobody and loses nothing (events queue in memory).
	Watch(ctx context.Context) (*Watch, error)
	Close() error
}
