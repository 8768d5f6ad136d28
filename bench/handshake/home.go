package handshake

import (
	"context"
	"crypto"
	"fmt"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

// home is where a private key lives.
type home struct {
	key             keyprovider.Key
	backend, reason string
	batches         func() map[int]uint64 // since the start, by the number of operations
	close           func()
}

// newHome brings the key to a provider. Where the kernels of batch can't run, that computes as memory does and says why.
func newHome(ctx context.Context, provider string, private crypto.PrivateKey) (h *home, err error) {
	switch provider {
	case memory.Name:
		h = &home{backend: batch.BackendStd, batches: func() map[int]uint64 { return nil }, close: func() {}}
		h.key, err = memory.New().Import(ctx, private)
	case batch.Name:
		p := batch.New(batch.Options{QueueLimit: mostClients})
		status := p.Status()
		h = &home{backend: status.Backend, reason: status.Detail, batches: func() map[int]uint64 { return counted(p.Stats()) }, close: p.Close}
		h.key, err = p.Import(ctx, private)
	default:
		return nil, fmt.Errorf("no provider is called %q", provider)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// counted adds up the queues of one provider: a measurement fills only one.
func counted(s batch.Stats) map[int]uint64 {
	batches := map[int]uint64{}
	for _, q := range s.Queues {
		for i, n := range q.Batches {
			if n > 0 {
				batches[i+1] += n
			}
		}
	}
	return batches
}
