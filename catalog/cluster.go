package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

const (
	catalogDatabase = "pgsyncd"
	catalogOwner    = "pgsyncd" // superuser of the private cluster
	catalogPort     = 5432      // only part of the socket's name

	// maxSocketPath is what fits into sockaddr_un on Linux, without the final zero.
	maxSocketPath = 107

	// socketDirPrefix marks temporary directories as ours to remove.
	socketDirPrefix = "pgsyncd-socket-"
)

// cluster is the private PostgreSQL cluster. Its files lie in one directory: data, run (the socket) and postgresql.log.
type cluster struct {
	log    *slog.Logger
	bin    binaries
	owner  osUser
	daemon string // OS user name of this process
	dir    string
	data   string
	run    string // directory of the socket

	cancel context.CancelFunc // of supervise, which owns the running server
	hurry  chan struct{}      // closed when there is no time for a fast shutdown
	done   chan struct{}      // closed when supervise has returned
	failed chan error         // one error at most
}

// osUser is whom the cluster's processes and files belong to.
type osUser struct {
	name     string
	uid, gid int
	switched bool // other than the user of this process
}

// openCluster makes the cluster if there is none, stops what a killed daemon left running, and starts it.
func openCluster(ctx context.Context, cfg Config) (*cluster, error) {
	c := &cluster{log: cfg.Logger, dir: filepath.Join(cfg.DataDir, "catalog"), failed: make(chan error, 1)}
	c.data = filepath.Join(c.dir, "data")
	if err := c.identify(cfg.RunAs); err != nil {
		return nil, err
	}
	major, err := clusterMajor(c.data)
	if err != nil {
		return nil, err
	}
	if c.bin, err = chooseBinaries(findBinaries(ctx), major); err != nil {
		return nil, err
	}
	if err := c.makeDirs(cfg.DataDir); err != nil { //nolint:contextcheck // nothing in it waits
		return nil, err
	}
	if err := stopLeftover(ctx, c.data, c.log); err != nil {
		return nil, fmt.Errorf("stop the catalog of a former daemon: %w", err)
	}
	c.removeTemporary()
	if major == 0 {
		if err := c.init(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.chooseSocket(); err != nil {
		return nil, err
	}
	if err := c.configure(); err != nil {
		return nil, fmt.Errorf("configure catalog: %w", err)
	}
	server, err := c.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start catalog: %w", errors.Join(err, c.removeSocketDir()))
	}
	supervised, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel, c.hurry, c.done = cancel, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(c.done)
		c.supervise(supervised, server)
	}()
	if err := c.createDatabase(ctx); err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	return c, nil
}

// identify finds the OS users of the daemon and of the cluster. PostgreSQL refuses to run as root.
func (c *cluster) identify(runAs string) error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("user of this process: %w", err)
	}
	c.daemon = me.Username
	if os.Geteuid() != 0 {
		if runAs != "" && runAs != me.Username {
			return fmt.Errorf("run as %s: only root can run the catalog as another user", runAs)
		}
		c.owner = osUser{name: me.Username, uid: os.Geteuid(), gid: os.Getegid()}
		return nil
	}
	if runAs == "" {
		runAs = "postgres"
	}
	u, err := user.Lookup(runAs)
	if err != nil {
		return fmt.Errorf("run as %s: %w", runAs, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return fmt.Errorf("run as %s: user id %q: %w", runAs, u.Uid, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return fmt.Errorf("run as %s: group id %q: %w", runAs, u.Gid, err)
	}
	if uid == 0 {
		return fmt.Errorf("run as %s: PostgreSQL does not run as root", runAs)
	}
	c.owner = osUser{name: u.Username, uid: uid, gid: gid, switched: true}
	return nil
}

// makeDirs makes the cluster's directory and sees that its user gets there.
func (c *cluster) makeDirs(dataDir string) error {
	if c.owner.switched {
		info, err := os.Stat(dataDir)
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		if err := os.Chmod(dataDir, info.Mode().Perm()|0o111); err != nil {
			return fmt.Errorf("let user %s through the data directory: %w", c.owner.name, err)
		}
	}
	if err := c.makeDir(c.dir); err != nil {
		return err
	}
	cmd := c.command(context.Background(), "postgres", "--version")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("user %s cannot work in %s (search permission is needed on every directory above): %w",
			c.owner.name, c.dir, err)
	}
	return nil
}

// makeDir makes a directory of the cluster's user, for nobody else.
func (c *cluster) makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.Lchown(dir, c.owner.uid, c.owner.gid); err != nil {
		return fmt.Errorf("give directory to user %s: %w", c.owner.name, err)
	}
	return nil
}

// command prepares a server program under the cluster's user, in its directory and without this process's environment.
func (c *cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin.dir, program), args...) //nolint:gosec // chosen by chooseBinaries
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + c.bin.dir, "LC_ALL=C"}
	// A session of its own: an interrupt from the terminal is for the daemon to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.owner.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.owner.uid), Gid: uint32(c.owner.gid)}
	}
	return cmd
}

// removeTemporary removes what an interrupted init left.
func (c *cluster) removeTemporary() {
	left, _ := filepath.Glob(filepath.Join(c.dir, "init-*")) // the pattern is well formed
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			c.log.Warn("remove interrupted initialization of the catalog", "dir", dir, "error", err)
		}
	}
}

// init makes the cluster beside its final place, where it appears complete or not at all.
func (c *cluster) init(ctx context.Context) error {
	tmp, err := os.MkdirTemp(c.dir, "init-")
	if err != nil {
		return fmt.Errorf("make catalog: %w", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone after the rename
	if err := os.Lchown(tmp, c.owner.uid, c.owner.gid); err != nil {
		return fmt.Errorf("make catalog: %w", err)
	}
	args := []string{"-D", tmp, "-U", catalogOwner, "-E", "UTF8", "--locale=C", "--auth=peer"}
	var out bytes.Buffer
	initdb := func(args ...string) error {
		cmd := c.command(ctx, "initdb", args...)
		out.Reset()
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd.Run()
	}
	err = initdb(append(args, "--lc-ctype=C.UTF-8")...)
	if err != nil && strings.Contains(out.String(), "invalid locale") {
		err = initdb(args...)
	}
	if err != nil {
		return fmt.Errorf("make catalog: initdb: %w: %s", err, strings.TrimSpace(out.String()))
	}
	conf, err := os.ReadFile(filepath.Join(tmp, "postgresql.conf"))
	if err != nil {
		return fmt.Errorf("make catalog: %w", err)
	}
	conf = append(conf, "\ninclude = 'pgsyncd.conf'\n"...)
	if err := c.writeFile(filepath.Join(tmp, "postgresql.conf"), string(conf)); err != nil {
		return fmt.Errorf("make catalog: %w", err)
	}
	if err := errors.Join(syncDir(tmp), os.Rename(tmp, c.data), syncDir(c.dir)); err != nil {
		return fmt.Errorf("make catalog: %w", err)
	}
	return nil
}

// chooseSocket puts the socket beside the data. Where that path would be too long, it goes to a temporary directory, and
// a symbolic link stands in its place, by which the next start finds what a killed daemon left.
func (c *cluster) chooseSocket() error {
	link := filepath.Join(c.dir, "run")
	if former, err := os.Readlink(link); err == nil {
		if filepath.Dir(former) == filepath.Clean(os.TempDir()) && strings.HasPrefix(filepath.Base(former), socketDirPrefix) {
			err = os.RemoveAll(former)
		}
		if err := errors.Join(err, os.Remove(link)); err != nil {
			return fmt.Errorf("remove socket of a former daemon: %w", err)
		}
	}
	c.run = link
	if len(c.socket()) <= maxSocketPath {
		return c.makeDir(c.run)
	}
	run, err := os.MkdirTemp("", socketDirPrefix)
	if err != nil {
		return fmt.Errorf("make directory for the catalog's socket: %w", err)
	}
	c.run = run
	if len(c.socket()) > maxSocketPath {
		err = fmt.Errorf("socket path %s is longer than %d bytes", c.socket(), maxSocketPath)
	}
	if err := errors.Join(err, os.RemoveAll(link), os.Symlink(run, link), c.makeDir(run)); err != nil {
		return errors.Join(fmt.Errorf("make directory for the catalog's socket: %w", err), c.removeSocketDir())
	}
	return nil
}

// removeSocketDir removes the socket directory if it is a temporary one.
func (c *cluster) removeSocketDir() error {
	link := filepath.Join(c.dir, "run")
	if c.run == link {
		return nil
	}
	return errors.Join(os.RemoveAll(c.run), os.Remove(link))
}

func (c *cluster) socket() string { return filepath.Join(c.run, ".s.PGSQL."+strconv.Itoa(catalogPort)) }

// settings of the private cluster: a small footprint, nothing but its socket, and every commit durable. What the owner
// sets with ALTER SYSTEM comes after them and wins.
const settings = `# Written by pgsyncd at every start. Use ALTER SYSTEM for settings of your own.
listen_addresses = ''
unix_socket_permissions = 0700
port = %d
unix_socket_directories = %s
max_connections = 200
superuser_reserved_connections = 24
shared_buffers = 32MB
temp_file_limit = 1GB
max_wal_size = 256MB
wal_level = minimal
max_wal_senders = 0
max_replication_slots = 0
max_prepared_transactions = 0
max_parallel_workers_per_gather = 0
fsync = on
full_page_writes = on
synchronous_commit = on
autovacuum = on
jit = off
password_encryption = 'scram-sha-256'
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%%m [%%p] '
log_min_messages = warning
log_min_error_statement = panic # statements of clients are theirs
log_statement = 'none'
cluster_name = 'pgsyncd catalog'
`

// configure writes the files that depend on this start: settings, who may log in, and as whom.
func (c *cluster) configure() error {
	sessionRoles := strings.Join(plainRoles.names(), ",")
	hba := fmt.Sprintf("# Written by pgsyncd at every start.\nlocal all %s peer map=pgsyncd\nlocal %s %s peer map=pgsyncd\n",
		catalogOwner, catalogDatabase, sessionRoles)
	ident := "# Written by pgsyncd at every start.\n"
	for _, role := range append(plainRoles.names(), catalogOwner) {
		ident += fmt.Sprintf("pgsyncd %s %s\n", quoteConf(c.daemon, `"`), role)
	}
	for name, text := range map[string]string{
		"pgsyncd.conf":  fmt.Sprintf(settings, catalogPort, quoteConf(c.run, `'`)),
		"pg_hba.conf":   hba,
		"pg_ident.conf": ident,
	} {
		if err := c.writeFile(filepath.Join(c.data, name), text); err != nil {
			return err
		}
	}
	return nil
}

// quoteConf quotes a word for the configuration files, where a doubled quote stands for one.
func quoteConf(s, quote string) string {
	return quote + strings.ReplaceAll(s, quote, quote+quote) + quote
}

// writeFile replaces a file of the cluster's user at once.
func (c *cluster) writeFile(name, text string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".pgsyncd-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chown(c.owner.uid, c.owner.gid), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// conninfo leads to a database of the cluster as its superuser. Every keyword that the environment could set is given.
func (c *cluster) conninfo(database string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host='%s' port=%d user=%s database=%s password='' sslmode=disable target_session_attrs=any "+
		"connect_timeout=10", quote.Replace(c.run), catalogPort, catalogOwner, database)
}

// createDatabase makes the catalog's database where an earlier start did not come so far, and closes the others.
func (c *cluster) createDatabase(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(c.conninfo("postgres"))
	if err != nil {
		return fmt.Errorf("create catalog database: %w", err)
	}
	cfg.RuntimeParams = map[string]string{"application_name": "pgsyncd"}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("create catalog database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything is committed
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", catalogDatabase).Scan(&exists)
	if err != nil {
		return fmt.Errorf("create catalog database: %w", err)
	}
	statements := []string{"REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC"}
	if !exists {
		statements = append(statements, "CREATE DATABASE "+catalogDatabase+" TEMPLATE template0")
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create catalog database: %s: %w", sql, err)
		}
	}
	return nil
}

// close stops the cluster and waits for it.
func (c *cluster) close(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.done:
	case <-ctx.Done():
		close(c.hurry)
		<-c.done
	}
	return c.removeSocketDir()
}
