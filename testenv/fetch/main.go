// Command fetch puts PostgreSQL servers and client programs into the cache that testenv uses:
//
//	go run ./testenv/fetch 10 16 client-18
//
// It prints the directory of each; what is installed on the machine is not fetched.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"pgsyncd/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed := false
	for _, version := range os.Args[1:] {
		find := testenv.ServerBin
		client, isClient := strings.CutPrefix(version, "client-")
		if isClient {
			version, find = client, testenv.ClientBin
		}
		dir, err := find(ctx, version)
		if err != nil {
			failed = true
			_, _ = fmt.Fprintln(os.Stderr, err)
			continue
		}
		_, _ = fmt.Fprintln(os.Stdout, dir)
	}
	if failed {
		os.Exit(1)
	}
}
