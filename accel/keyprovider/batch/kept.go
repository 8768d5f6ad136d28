package batch

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

// kept is a key in secret memory, in two forms: laid out for a kernel, and as PKCS #8 for what no kernel does.
type kept struct {
	provider *Provider
	slot     slot
	kernel   int // bytes of the slot that are the kernel's; the rest is the PKCS #8
}

// keep finds room for a key, n bytes of it for a kernel, and fills in the rest. It may write to what can be computed anew of
// the key. A Status with a Backend says why not.
func (p *Provider) keep(private crypto.PrivateKey, n int) (kept, Status) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return kept{}, Status{BackendStd, ReasonKey, "it has no PKCS #8 form"}
	}
	defer clear(der)
	s, err := p.arena.take(n + len(der))
	if err != nil {
		return kept{}, Status{BackendStd, ReasonMemory, err.Error()}
	}
	copy(s.bytes[n:], der)
	return kept{p, s, n}, Status{}
}

// der copies the key out of secret memory. Whoever calls it clears it.
func (k *kept) der() (der []byte, err error) {
	err = k.provider.arena.read(k.slot, func(secret []byte) { der = append(der, secret[k.kernel:]...) })
	return der, err
}

// onHeap is the key for one operation of the standard library's. Whoever calls it wipes it.
func (k *kept) onHeap() (crypto.PrivateKey, error) {
	der, err := k.der()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("private key: is damaged in memory") // the cause could quote the key
	}
	return private, nil
}

func (k *kept) handle() ([]byte, error) {
	der, err := k.der()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return memory.EncodeHandleDER(der), nil
}

// String and Format keep the key out of logs that were handed one by mistake, whatever the verb: fmt asks String for some only.
func (k *kept) String() string { return "private key in secret memory (secret)" }

// Format implements fmt.Formatter.
func (k *kept) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// checkFailed counts and logs a fault. One is rare, and may be an attack or the first sign of broken hardware: none is left
// out.
func (p *Provider) checkFailed(c *counters, alg keyprovider.Algorithm) {
	c.checksFailed.Add(1)
	p.logger.Error("key provider: a result failed its check and is computed anew by the standard library: "+
		"if this repeats, the processor or the memory is damaged", "provider", Name, "algorithm", string(alg))
}
