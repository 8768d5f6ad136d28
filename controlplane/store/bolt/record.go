package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// The file, format 1. Numbers are big endian.
//
//	bucket "meta":    "format"   -> "1"
//	                  "revision" -> 8 bytes: of the last transaction
//	                  "count"    -> 8 bytes: how many records there are
//	bucket "records": kind 00 mesh 00 namespace 00 name ->
//	                  8 bytes revision | 4 bytes CRC-32C of key, revision and value | value
//
// The check sum and the count are there since bbolt checks only its two root pages.
const (
	metaBucket    = "meta"
	recordsBucket = "records"
	formatKey     = "format"
	revisionKey   = "revision"
	countKey      = "count"
	format        = "1"

	headerLen = 8 + 4
)

type content struct {
	records  []store.Record
	revision store.Revision
}

func initialise(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket([]byte(recordsBucket)); err != nil {
		return err
	}
	return errors.Join(
		meta.Put([]byte(formatKey), []byte(format)),
		meta.Put([]byte(revisionKey), number(0)),
		meta.Put([]byte(countKey), number(0)),
	)
}

// load reads and checks everything.
func load(db *bbolt.DB) (c content, err error) {
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			meta, records := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(recordsBucket))
			if meta == nil || records == nil {
				return errors.New("it has not the buckets of a Hauberk store")
			}
			if f := meta.Get([]byte(formatKey)); string(f) != format {
				return fmt.Errorf("its format is %q and this version reads %q: it may be from a newer version", f, format)
			}
			revision, count := meta.Get([]byte(revisionKey)), meta.Get([]byte(countKey))
			if len(revision) != 8 || len(count) != 8 {
				return errors.New("its revision or count is missing")
			}
			c.revision = store.Revision(binary.BigEndian.Uint64(revision))
			err := records.ForEach(func(k, v []byte) error {
				r, err := decodeRecord(k, v)
				if err == nil && r.Revision > c.revision {
					err = fmt.Errorf("%s is of revision %d, after the last, %d", r.Key, r.Revision, c.revision)
				}
				c.records = append(c.records, r)
				return err
			})
			if n := binary.BigEndian.Uint64(count); err == nil && n != uint64(len(c.records)) {
				err = fmt.Errorf("it has %d records instead of %d", len(c.records), n)
			}
			return err
		})
	})
	return c, err
}

func encodeKey(k api.Key) []byte {
	return bytes.Join([][]byte{[]byte(k.Kind), []byte(k.Mesh), []byte(k.Namespace), []byte(k.Name)}, []byte{0})
}

func encodeRecord(key []byte, r *store.Record) []byte {
	v := make([]byte, headerLen, headerLen+len(r.Value))
	binary.BigEndian.PutUint64(v, uint64(r.Revision))
	binary.BigEndian.PutUint32(v[8:], checksum(key, v[:8], r.Value))
	return append(v, r.Value...)
}

// decodeRecord copies: bbolt's slices are valid only within their transaction.
func decodeRecord(k, v []byte) (store.Record, error) {
	parts := bytes.Split(k, []byte{0})
	if len(parts) != 4 {
		return store.Record{}, fmt.Errorf("the key %q has %d parts instead of 4", k, len(parts))
	}
	key := api.Key{Kind: string(parts[0]), Mesh: string(parts[1]), Namespace: string(parts[2]), Name: string(parts[3])}
	if len(v) < headerLen {
		return store.Record{}, fmt.Errorf("%s is cut short", key)
	}
	value := append([]byte{}, v[headerLen:]...)
	if binary.BigEndian.Uint32(v[8:]) != checksum(k, v[:8], value) {
		return store.Record{}, fmt.Errorf("the check sum of %s is wrong", key)
	}
	return store.Record{Key: key, Value: value, Revision: store.Revision(binary.BigEndian.Uint64(v))}, nil
}

func checksum(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // the package keeps one: this is a lookup
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
