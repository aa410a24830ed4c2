package precheck

import (
	"context"
	"errors"
	"fmt"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
)

var versionChecks = []check{
	{"versions", "source version", source, always, sourceVersion},
	{"versions", "destination version", source | destination, always, destinationVersion},
	{"versions", "minor version", source, streamed, minorVersion},
	{"versions", "pg_dump", source | destination, copied, pgDump},
}

// oldestPgoutput is the first version with pgoutput and publications.
const oldestPgoutput = 100000

func sourceVersion(_ context.Context, e *env) (finding, error) {
	v := e.src.version
	switch {
	case v/100 < endpoint.OldestSource || v/10000 > endpoint.Newest/100:
		return failed("PostgreSQL "+versionText(v), fmt.Sprintf("The source must be PostgreSQL 9.4 to %d.", endpoint.Newest/100))
	case e.in.Incremental && v < oldestPgoutput && e.in.Decoder == PluginPgoutput:
		return failed("PostgreSQL "+versionText(v)+" has no output plug-in pgoutput",
			"Leave the option decoder at auto: test_decoding is used then.")
	}
	return passed("PostgreSQL %s", versionText(v))
}

func destinationVersion(_ context.Context, e *env) (finding, error) {
	v := e.dst.version
	switch {
	case v/100 < endpoint.OldestDestination || v/10000 > endpoint.Newest/100:
		return failed("PostgreSQL "+versionText(v), fmt.Sprintf("The destination must be PostgreSQL 9.5 to %d.", endpoint.Newest/100))
	case major(v) < major(e.src.version):
		return failed(fmt.Sprintf("PostgreSQL %s is older than the source, PostgreSQL %s", versionText(v), versionText(e.src.version)),
			fmt.Sprintf("Use a destination of PostgreSQL %s or newer.", majorText(e.src.version)))
	}
	return passed("PostgreSQL %s", versionText(v))
}

// decodingBugs is the first minor release of each major version without a known
// bug by which logical decoding loses or misreads changes:
// 9.4.12, 9.5.7, 9.6.3 wrong initial snapshots; 10.22 to 14.5 wrong catalog
// contents after a restart in the middle of a transaction with DDL; 13.21 to 17.5
// lost changes when DDL runs next to writes.
var decodingBugs = map[int]int{
	904: 90412, 905: 90507, 906: 90603, 1000: 100022, 1100: 110017, 1200: 120012, 1300: 130021,
	1400: 140018, 1500: 150013, 1600: 160009, 1700: 170005,
}

func minorVersion(_ context.Context, e *env) (finding, error) {
	v := e.src.version
	if fixed, ok := decodingBugs[major(v)]; ok && v < fixed {
		return confirm(fmt.Sprintf("PostgreSQL %s has known bugs by which logical decoding can lose changes", versionText(v)),
			fmt.Sprintf("Update the source to PostgreSQL %s or newer, or run no DDL while the task runs.", versionText(fixed)))
	}
	return passed("PostgreSQL %s has no known bug that loses changes", versionText(v))
}

func pgDump(ctx context.Context, e *env) (finding, error) {
	path, version, err := schema.FindPgDump(ctx, e.src.version, e.dst.version)
	var missing *schema.PgDumpMissingError
	if errors.As(err, &missing) {
		return failed(err.Error(), missing.Hint())
	}
	if err != nil {
		return finding{}, err
	}
	return passed("%s (%s)", path, versionText(version))
}
