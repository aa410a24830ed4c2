package shop

import (
	"fmt"
	"strconv"
	"strings"
)

// values draws what the placeholders of one step stand for.
func (w *writer) values() *strings.Replacer {
	upTo := func(n int) string { return strconv.Itoa(1 + w.rand.IntN(n)) }
	return strings.NewReplacer(
		"{n}", strconv.Itoa(w.n),
		"{delta}", strconv.Itoa(w.rand.IntN(10000)-5000),
		"{account}", upTo(100000*w.Units),
		"{teller}", upTo(10*w.Units),
		"{branch}", upTo(w.Units),
		"{customer}", upTo(10000*w.Units),
		"{document}", upTo(1000*w.Units),
		"{order}", upTo(20000*w.Units),
		"{small}", upTo(100),
		"{warehouse}", upTo(6),
		"{inbox}", upTo(500),
		"{unique}", fmt.Sprintf("%016x", w.rand.Uint64()),
		"{hex}", fmt.Sprintf("%08x", w.rand.Uint32()),
	)
}
