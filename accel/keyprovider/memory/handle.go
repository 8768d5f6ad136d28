package memory

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468 section 10

// EncodeHandle writes a private key as a handle: PKCS #8 in PEM.
func EncodeHandle(private crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	defer clear(der)
	return EncodeHandleDER(der), nil
}

// EncodeHandleDER is EncodeHandle for a key that is PKCS #8 already.
func EncodeHandleDER(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
}

// DecodeHandle reads what EncodeHandle wrote: one block and nothing else. Errors never show it.
func DecodeHandle(handle []byte) (crypto.PrivateKey, error) {
	block, rest := pem.Decode(handle)
	if block == nil {
		return nil, errors.New("key handle: is not PEM")
	}
	defer clear(block.Bytes)
	if block.Type != pemType {
		return nil, fmt.Errorf("key handle: is a PEM block %q instead of %q", block.Type, pemType)
	}
	if len(rest) != 0 {
		return nil, errors.New("key handle: has something after its PEM block")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("key handle: is not a PKCS #8 key") // the cause could quote the key
	}
	return private, nil
}
