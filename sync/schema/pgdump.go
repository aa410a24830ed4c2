package schema

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// versionTimeout bounds asking one program for its version.
const versionTimeout = 10 * time.Second

// pgDump is an installed pg_dump; version is like server_version_num.
type pgDump struct {
	path    string
	version int
}

// PgDumpMissingError says that no installed pg_dump can read the source.
type PgDumpMissingError struct {
	Source int      // server_version_num of the source
	Wanted string   // major version to install
	Found  []string // "path (version)" of those that are too old
}

func (e *PgDumpMissingError) Error() string {
	text := fmt.Sprintf("find pg_dump for a PostgreSQL %s source: none installed", majorText(major(e.Source)))
	if len(e.Found) > 0 {
		text = fmt.Sprintf("find pg_dump for a PostgreSQL %s source: too old: %s",
			majorText(major(e.Source)), strings.Join(e.Found, ", "))
	}
	return text + "; " + e.Hint()
}

// Hint says what to install.
func (e *PgDumpMissingError) Hint() string {
	m := e.Wanted
	return fmt.Sprintf("install the PostgreSQL %s client programs (Debian and Ubuntu: postgresql-client-%s, Red Hat: postgresql%s) "+
		"or put their pg_dump into PATH", m, m, m)
}

// Permanent tells the retry logic that trying again does not help.
func (e *PgDumpMissingError) Permanent() bool { return true }

// FindPgDump looks for pg_dump in PATH, `pg_config --bindir` and /usr/lib/postgresql/*/bin and chooses one for these servers
// (versions like server_version_num): it must be at least as new as the source; of those the destination's major version, else
// the next newer one, else the newest older one, because a newer pg_dump writes clauses an older server rejects. The version is like
// server_version_num. The error is a *PgDumpMissingError when there is none.
func FindPgDump(ctx context.Context, source, destination int) (path string, version int, err error) {
	var found []pgDump
	seen := map[string]bool{}
	for _, dir := range programDirs(ctx) {
		file, err := filepath.EvalSymlinks(filepath.Join(dir, "pg_dump"))
		// Debian's pg_wrapper chooses a version by itself; the real programs are in the directories that follow.
		if err != nil || seen[file] || filepath.Base(file) == "pg_wrapper" {
			continue
		}
		seen[file] = true
		if v, err := programVersion(ctx, file); err == nil {
			found = append(found, pgDump{file, v})
		}
	}
	if err := ctx.Err(); err != nil {
		return "", 0, fmt.Errorf("find pg_dump: %w", err)
	}
	chosen, ok := choosePgDump(found, source, destination)
	if !ok {
		missing := &PgDumpMissingError{Source: source, Wanted: majorText(max(major(source), major(destination)))}
		for _, d := range found {
			missing.Found = append(missing.Found, fmt.Sprintf("%s (%s)", d.path, versionText(d.version)))
		}
		return "", 0, missing
	}
	return chosen.path, chosen.version, nil
}

// choosePgDump applies the rule of FindPgDump. Among equal major versions the newest minor one wins, then the first.
func choosePgDump(installed []pgDump, source, destination int) (pgDump, bool) {
	fit := slices.DeleteFunc(slices.Clone(installed), func(d pgDump) bool { return major(d.version) < major(source) })
	if len(fit) == 0 {
		return pgDump{}, false
	}
	want := major(destination)
	slices.SortStableFunc(fit, func(a, b pgDump) int {
		ma, mb := major(a.version), major(b.version)
		switch {
		case ma == mb:
			return cmp.Compare(b.version, a.version)
		case ma >= want && mb >= want:
			return cmp.Compare(ma, mb)
		default: // at least one is older than the destination: the newer goes first
			return cmp.Compare(mb, ma)
		}
	})
	return fit[0], true
}

// programDirs lists where pg_dump may be, in order of search.
func programDirs(ctx context.Context) []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if config, err := exec.LookPath("pg_config"); err == nil {
		if out, err := output(ctx, config, "--bindir"); err == nil {
			dirs = append(dirs, strings.TrimSpace(out))
		}
	}
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin"); err == nil {
		dirs = append(dirs, found...)
	}
	return dirs
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output() //nolint:gosec // the programs come from PATH by design
	return string(out), err
}

// versionPattern matches 9.6.24, 15.8, 18beta1 and 19devel in "pg_dump (PostgreSQL) 15.8 (Debian 15.8-1)".
var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?(?:\.(\d+))?`)

// versions are the answers of programs that were asked before, since to ask means to start them.
var (
	versions   = map[installed]int{}
	versionsMu sync.Mutex
)

// installed is a program as it was when it was asked for its version.
type installed struct {
	path    string
	changed int64 // as Time.UnixNano
	size    int64
}

func programVersion(ctx context.Context, path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	program := installed{path, info.ModTime().UnixNano(), info.Size()}
	versionsMu.Lock()
	v, known := versions[program]
	versionsMu.Unlock()
	if known {
		return v, nil
	}
	out, err := output(ctx, path, "--version")
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if v, err = parseVersion(out); err == nil {
		versionsMu.Lock()
		versions[program] = v
		versionsMu.Unlock()
	}
	return v, err
}

// parseVersion reads the output of a program's --version as a number like server_version_num.
func parseVersion(text string) (int, error) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no PostgreSQL version in %q", text)
	}
	var n [3]int
	for i := range n {
		if m[i+1] != "" {
			v, err := strconv.Atoi(m[i+1])
			if err != nil || v > 9999 {
				return 0, fmt.Errorf("no PostgreSQL version in %q", text)
			}
			n[i] = v
		}
	}
	if n[0] >= 10 {
		return n[0]*10000 + n[1], nil
	}
	return n[0]*10000 + n[1]*100 + n[2], nil
}

// major returns 1500 for 150008 and 906 for 90624: comparable, and different exactly where the major version is.
func major(version int) int {
	if version >= 100000 {
		return version / 10000 * 100
	}
	return version / 100
}

// majorText prints what major returned.
func majorText(m int) string {
	if m >= 1000 {
		return strconv.Itoa(m / 100)
	}
	return fmt.Sprintf("%d.%d", m/100, m%100)
}

func versionText(version int) string {
	if version >= 100000 {
		return fmt.Sprintf("%d.%d", version/10000, version%10000)
	}
	return fmt.Sprintf("%s.%d", majorText(major(version)), version%100)
}
