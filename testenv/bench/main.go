// Command bench measures pgsyncd against other ways of doing the same, on servers made for it: all contenders in turn within
// each of several rounds, because a machine's pace drifts and only ratios of one round can be trusted.
//
//	bench copy    a whole clone of a database, indexes included, and the daemon's memory while it copies
//	bench apply   backlogs of changes, the delay of single ones, and the daemon's memory while a giant transaction passes
//	bench compare comparisons of values
//	bench query   clients' queries through the daemon
//
// Environment: SCALE is the amount of data (default 0.4; of a clone, 1 is 7.5 million rows, 1.5 GB; of backlogs, see workloads); ROUNDS is how
// many (default 3); ONLY names the contenders of a clone that take part, the workloads, delay and memory, the ways to compare, or the queries, separated by commas (default all).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"pgsyncd/testenv"
)

func main() { testenv.Main("bench", run) }

// benches are what can be measured.
var benches = map[string]func(context.Context, options) error{
	"copy":    benchCopy,
	"apply":   benchApply,
	"compare": benchCompare,
	"query":   benchQuery,
}

func run(ctx context.Context) error {
	args := os.Args[1:]
	if len(args) != 1 || benches[args[0]] == nil {
		return errors.New("usage: bench { copy | apply | compare | query }")
	}
	o, err := readOptions()
	if err != nil {
		return err
	}
	return benches[args[0]](ctx, o)
}

// options are what the environment asks for.
type options struct {
	scale  float64
	rounds int
	only   []string // empty: all
}

func readOptions() (o options, err error) {
	o = options{scale: 0.4, rounds: 3}
	if text := os.Getenv("SCALE"); text != "" {
		if o.scale, err = strconv.ParseFloat(text, 64); err != nil || o.scale < 0.001 || o.scale > 1000 {
			return o, fmt.Errorf("SCALE=%s: want a number from 0.001 to 1000", text)
		}
	}
	if text := os.Getenv("ROUNDS"); text != "" {
		if o.rounds, err = strconv.Atoi(text); err != nil || o.rounds < 1 {
			return o, fmt.Errorf("ROUNDS=%s: want a number from 1 on", text)
		}
	}
	if text := os.Getenv("ONLY"); text != "" {
		o.only = strings.Split(text, ",")
	}
	return o, nil
}

// wanted tells what of the names takes part. A name that is none of them is an error.
func (o options) wanted(names ...string) (func(string) bool, error) {
	for _, name := range o.only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("ONLY=%s: there are %s", name, strings.Join(names, ", "))
		}
	}
	return func(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }, nil
}

// say prints one line of the report.
func say(format string, args ...any) {
	_, _ = fmt.Printf(format+"\n", args...) //nolint:forbidigo // the program's output
}
