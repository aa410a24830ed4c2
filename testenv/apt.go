package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// newLauncher starts a program of a newer system than this one with that system's libraries and dynamic linker. It finds
// them from its own place. Programs that start others (pg_dumpall) look for them beside the real program and do not work.
const newLauncher = `#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
lib=$root/usr/lib/x86_64-linux-gnu
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$root/usr/lib/postgresql/%s/bin/%s" "$@"
`

// oldLauncher starts a program of an older system, whose libraries get along with this one's libc.
const oldLauncher = `#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu"
exec "$root/usr/lib/postgresql/%s/bin/%s" "$@"
`

const debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// fetchDebian takes the client programs from another Debian suite.
func fetchDebian(ctx context.Context, temp, version, suite string) (string, error) {
	sources := aptSource(debianKeys, "http://deb.debian.org/debian", suite, "main")
	root, err := aptUnpack(ctx, filepath.Join(temp, "client"), sources, "", "postgresql-client-"+version)
	if err != nil {
		return "", err
	}
	return root, writeLaunchers(root, version, newLauncher)
}

// fetchUbuntu takes a server from an old Ubuntu. The key of its archive comes from Debian.
func fetchUbuntu(ctx context.Context, temp, version, suite string) (string, error) {
	sources := aptSource(debianKeys, "http://deb.debian.org/debian", "sid", "main")
	keys, err := aptUnpack(ctx, filepath.Join(temp, "keys"), sources, "", "ubuntu-keyring")
	if err != nil {
		return "", err
	}
	keyring := filepath.Join(keys, "usr/share/keyrings/ubuntu-archive-keyring.gpg")
	const mirror = "http://archive.ubuntu.com/ubuntu"
	sources = aptSource(keyring, mirror, suite, "main universe") + aptSource(keyring, mirror, suite+"-updates", "main universe")
	root, err := aptUnpack(ctx, filepath.Join(temp, "server"), sources, "libc6_", "postgresql-"+version, "postgresql-contrib-"+version)
	if err != nil {
		return "", err
	}
	return root, writeLaunchers(root, version, oldLauncher)
}

// aptSource is a line of sources.list. A mirror's copy may be older than its validity; that is no risk for a test.
func aptSource(keyring, mirror, suite, components string) string {
	return fmt.Sprintf("deb [signed-by=%s check-valid-until=no] %s %s %s\n", keyring, mirror, suite, components)
}

// aptUnpack unpacks packages with all they depend on, except those whose file name begins with without, and returns the
// root directory of the result. apt works in directories of its own below dir, checks signatures, and needs no rights.
func aptUnpack(ctx context.Context, dir, sources, without string, packages ...string) (string, error) {
	for _, d := range []string{"etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"} {
		if err := mkdirOpen(filepath.Join(dir, d)); err != nil {
			return "", err
		}
	}
	config := strings.ReplaceAll(`Dir::Etc "@/etc"; Dir::Etc::sourcelist "@/etc/sources.list"; Dir::Etc::sourceparts "-";
Dir::State "@/state"; Dir::State::status "@/state/status"; Dir::Cache "@/cache";
Acquire::Languages "none"; APT::Architecture "amd64"; APT::Sandbox::User "";
`, "@", dir)
	for name, content := range map[string]string{"conf": config, "etc/sources.list": sources, "state/status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	env := []string{"APT_CONFIG=" + filepath.Join(dir, "conf")}
	if err := tool(ctx, dir, env, "apt-get", "-q", "update"); err != nil {
		return "", err
	}
	args := append([]string{"-q", "-y", "--download-only", "--no-install-recommends", "install"}, packages...)
	if err := tool(ctx, dir, env, "apt-get", args...); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "cache/archives/*.deb"))
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "root")
	for _, f := range files {
		if without != "" && strings.HasPrefix(filepath.Base(f), without) {
			continue
		}
		if err := tool(ctx, dir, nil, "dpkg", "-x", f, root); err != nil {
			return "", err
		}
	}
	return root, mkdirOpen(root)
}

// writeLaunchers puts a script for every PostgreSQL program of root into its bin directory, in place of what is there.
func writeLaunchers(root, version, launcher string) error {
	programs, err := filepath.Glob(filepath.Join(root, "usr/lib/postgresql", version, "bin/*"))
	if err != nil {
		return err
	}
	bin := filepath.Join(root, "bin")
	if err := os.RemoveAll(bin); err != nil {
		return err
	}
	if err := mkdirOpen(bin); err != nil {
		return err
	}
	for _, p := range programs {
		name := filepath.Base(p)
		if err := os.WriteFile(filepath.Join(bin, name), fmt.Appendf(nil, launcher, version, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}
