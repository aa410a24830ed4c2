//go:build versions

package sync_test

import "testing"

// Before 10 there is nothing but test_decoding, before 9.6 no messages in the WAL.
func TestVersionsDecoder(t *testing.T) {
	for _, pair := range [][2]string{{"9.5", "9.6"}, {"9.6", "15"}, {"10", "14"}, {"14", "18"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) { decoderBetween(t, pair[0], pair[1]) })
	}
}
