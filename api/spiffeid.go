package api

import (
	"errors"
	"fmt"
	"strings"
)

// CheckTrustDomain tests the host of a SPIFFE ID (SPIFFE-ID 2.1): lower-case letters, digits, '.', '-' and '_', at most
// 255 characters.
func CheckTrustDomain(td string) error {
	if td == "" {
		return errors.New("trust domain is empty")
	}
	if len(td) > 255 {
		return errors.New("trust domain is longer than 255 characters")
	}
	for i := range len(td) {
		if c := td[i]; !isLower(c) && !isDigit(c) && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("trust domain %q has %q: only lower-case letters, digits, '.', '-' and '_' are allowed", td, c)
		}
	}
	return nil
}

// CheckSPIFFEID tests a whole SPIFFE ID of a workload (SPIFFE-ID 2): no query, no escapes, no empty or dot segments, at
// most 2048 bytes. An ID without a path names a trust domain and no workload, and is refused too.
func CheckSPIFFEID(id string) error {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok {
		return fmt.Errorf("%q does not begin with spiffe://", id)
	}
	if len(id) > 2048 {
		return errors.New("SPIFFE ID is longer than 2048 bytes")
	}
	td, path, hasPath := strings.Cut(rest, "/")
	if err := CheckTrustDomain(td); err != nil {
		return fmt.Errorf("%q: %w", id, err)
	}
	if !hasPath {
		return fmt.Errorf("%q names a trust domain and no workload", id)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("%q has an empty or a dot segment", id)
		}
		for i := range len(segment) {
			if c := segment[i]; !isAlnum(c) && c != '.' && c != '-' && c != '_' {
				return fmt.Errorf("%q has %q in its path: only letters, digits, '.', '-' and '_' are allowed", id, c)
			}
		}
	}
	return nil
}
