package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultVersion is the PostgreSQL that a Config without Version asks for.
const DefaultVersion = "15"

// installedBin looks where distributions put servers.
func installedBin(ctx context.Context, version string) (string, error) {
	candidates := []string{filepath.Join("/usr/lib/postgresql", version, "bin")}
	if out, err := run(ctx, "/", "pg_config", "--bindir"); err == nil {
		candidates = append(candidates, strings.TrimSpace(out))
	}
	candidates = append(candidates, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue // most of PATH
		}
		out, err := run(ctx, "/", filepath.Join(dir, "postgres"), "--version")
		if err == nil && strings.HasPrefix(out, "postgres (PostgreSQL) "+version+".") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no PostgreSQL %s server found in %s", version, strings.Join(candidates, ", "))
}

// versionNumber turns "15" into 150000 and "9.6" into 90600.
func versionNumber(version string) (int, error) {
	major, minor, dotted := strings.Cut(version, ".")
	a, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("version %q: want a major version such as 15 or 9.6", version)
	}
	if !dotted && a >= 10 {
		return a * 10000, nil
	}
	b, err := strconv.Atoi(minor)
	if err != nil || a != 9 {
		return 0, fmt.Errorf("version %q: want a major version such as 15 or 9.6", version)
	}
	return a*10000 + b*100, nil
}

// cacheDir is the directory sub of what outlives a process: $PGSYNCD_CACHE, else the user's cache directory if the servers'
// user gets through to it, else one that everybody reaches.
func cacheDir(sub string) (string, error) {
	var roots []string
	if dir := os.Getenv("PGSYNCD_CACHE"); dir != "" {
		roots = append(roots, dir)
	} else {
		if dir, err := os.UserCacheDir(); err == nil {
			roots = append(roots, filepath.Join(dir, "pgsyncd"))
		}
		if os.Geteuid() == 0 {
			roots = append(roots, "/var/cache/pgsyncd")
		}
		roots = append(roots, filepath.Join(os.TempDir(), "pgsyncd-cache-"+strconv.Itoa(os.Getuid())))
	}
	acc, err := serverAccount()
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		dir := filepath.Join(root, sub)
		if acc != nil && !traversable(existing(root)) {
			continue
		}
		if err := mkdirOpen(root); err != nil {
			continue
		}
		if err := mkdirOpen(dir); err != nil {
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no usable cache directory among %s: set PGSYNCD_CACHE to one that every user may traverse", strings.Join(roots, ", "))
}

// existing is the nearest ancestor of dir that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" || dir == "." {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
