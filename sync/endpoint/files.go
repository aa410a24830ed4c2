package endpoint

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the largest file a connection string may name; it also caps an
// inline CA certificate.
const maxFile = 500_000

// files reads what a connection string names, from one directory only.
type files struct{ dir string }

// read returns the content of the regular file that path names, relative to the
// directory or absolute, and its permission bits. Links are followed as long as
// they stay inside.
func (f files) read(keyword, path string) ([]byte, os.FileMode, error) {
	if f.dir == "" {
		return nil, 0, invalid(keyword, "files may not be named here")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	dir, err := filepath.EvalSymlinks(f.dir)
	if err != nil {
		return nil, 0, invalid(keyword, "the directory for such files is not accessible: %v", reason(err))
	}
	outside := invalid(keyword, "the file must lie below %s", f.dir)
	// A path outside is refused before the file system is asked about it, so that
	// nobody learns what exists elsewhere.
	if !below(f.dir, path) && !below(dir, path) {
		return nil, 0, outside
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, 0, invalid(keyword, "%v", reason(err))
	}
	relative, err := filepath.Rel(dir, real)
	if err != nil || !filepath.IsLocal(relative) {
		return nil, 0, outside
	}
	// os.Root keeps the promise even if a link is swapped in between.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, invalid(keyword, "%v", reason(err))
	}
	defer func() { _ = root.Close() }() // only read
	return readRegular(root, keyword, relative)
}

func readRegular(root *os.Root, keyword, name string) ([]byte, os.FileMode, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, 0, invalid(keyword, "%v", reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, 0, invalid(keyword, "is not a regular file")
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, 0, invalid(keyword, "%v", reason(err))
	}
	defer func() { _ = file.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, 0, invalid(keyword, "%v", reason(err))
	}
	if len(content) > maxFile {
		return nil, 0, invalid(keyword, "the file is larger than %d bytes", maxFile)
	}
	return content, info.Mode().Perm(), nil
}

func below(dir, path string) bool {
	relative, err := filepath.Rel(dir, filepath.Clean(path))
	return err == nil && filepath.IsLocal(relative)
}

// reason strips the path from a file system error: it may be a misplaced secret.
func reason(err error) error {
	if pathError, ok := err.(*os.PathError); ok { //nolint:errorlint // the outermost one is the one with the path
		return pathError.Err
	}
	return err
}

// service returns the settings of one section of a service file
// (https://www.postgresql.org/docs/current/libpq-pgservice.html).
func (f files) service(path, name string) (map[string]string, error) {
	content, _, err := f.read("service", path)
	if err != nil {
		return nil, err
	}
	var values map[string]string
	for number, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			if values != nil {
				return values, nil
			}
			if line == "["+name+"]" {
				values = map[string]string{}
			}
		case values == nil:
		default:
			keyword, value, found := strings.Cut(line, "=")
			if !found || keyword == "service" || keyword == "servicefile" {
				return nil, invalid("service", "syntax error in line %d of the service file", number+1)
			}
			values[keyword] = value
		}
	}
	if values == nil {
		return nil, invalid("service", "the service file has no section of that name")
	}
	return values, nil
}

// passwordFile is the content of a passfile: hostname:port:database:user:password
// (https://www.postgresql.org/docs/current/libpq-pgpass.html).
type passwordFile [][5]string

func (f files) passwords(path string) (passwordFile, error) {
	content, mode, err := f.read("passfile", path)
	if err != nil {
		return nil, err
	}
	if mode&0o077 != 0 {
		return nil, invalid("passfile", "the file must not be accessible to group or others (chmod 0600)")
	}
	var entries passwordFile
	for line := range strings.SplitSeq(string(content), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if entry, ok := passwordLine(line); ok {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

func passwordLine(line string) (entry [5]string, ok bool) {
	field := 0
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == ':' && field < 4 {
			entry[field] = b.String()
			field++
			b.Reset()
			continue
		}
		if c == '\\' && i+1 < len(line) {
			i++
			c = line[i]
		}
		b.WriteByte(c)
	}
	entry[field] = b.String()
	return entry, field == 4
}

func (p passwordFile) find(host, port, database, user string) string {
	want := [4]string{host, port, database, user}
next:
	for _, entry := range p {
		for i := range want {
			if entry[i] != "*" && entry[i] != want[i] {
				continue next
			}
		}
		return entry[4]
	}
	return ""
}

// escape writes one field of a passfile.
func escape(field string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(field)
}

func passwordEntry(host, port, database, user, password string) string {
	return fmt.Sprintf("%s:%s:%s:%s:%s\n", escape(host), escape(port), escape(database), escape(user), escape(password))
}
