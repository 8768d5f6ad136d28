// Package hauberk is the root of a service mesh: README.md says what it is, ARCHITECTURE.md where everything happens.
// It holds no code, only the tests that keep the project's structure.
package hauberk

//go:generate go test ./test/docs -run TestGenerated -update
