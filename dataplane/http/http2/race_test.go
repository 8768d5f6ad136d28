//go:build race

package http2

// raceDetector makes sync.Pool forget at random: allocations can not be counted.
const raceDetector = true
