package testenv

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
)

// Standby makes a physical standby of c that streams from it with hot_standby_feedback on, and returns when it answers
// queries. Of cfg only Settings, Dir, HBA, Port and Log count; the version is c's.
func (c *Cluster) Standby(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg.Version = c.version
	// Without a slot, which tests would find among their own, the primary must keep what a stopped standby needs.
	keep := map[string]string{"wal_keep_size": "256MB"}
	if c.num < 130000 {
		keep = map[string]string{"wal_keep_segments": "16"}
	}
	if err := c.Set(ctx, keep, false); err != nil {
		return nil, fmt.Errorf("standby: %w", err)
	}
	s, err := prepare(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("standby: %w", err)
	}
	s.standby = true
	if err := s.follow(ctx, c, cfg); err != nil {
		_ = s.Destroy()
		return nil, fmt.Errorf("standby: %w", err)
	}
	return s, nil
}

func (c *Cluster) follow(ctx context.Context, primary *Cluster, cfg Config) error {
	bin, err := ClientBin(ctx, clientVersion(primary.num))
	if err != nil {
		return err
	}
	_, err = run(ctx, c.dir, filepath.Join(bin, "pg_basebackup"), "-D", c.DataDir(), "-X", "stream", "-c", "fast", "-d", primary.SocketString("postgres"))
	if err != nil {
		return err
	}
	primary.mu.Lock()
	c.settings = maps.Clone(primary.settings)
	primary.mu.Unlock()
	c.settings["hot_standby_feedback"] = "on"
	c.settings["wal_receiver_status_interval"] = "1s"
	maps.Copy(c.settings, cfg.Settings)
	if len(cfg.HBA) > 0 {
		if err := c.writeHBA(cfg.HBA); err != nil {
			return err
		}
	}
	conninfo := fmt.Sprintf("host=%s port=%d user=%s", primary.SocketDir(), primary.Port(), Superuser)
	if c.num >= 120000 {
		c.settings["primary_conninfo"] = conninfo
		if err := c.writeData("standby.signal", ""); err != nil {
			return err
		}
	} else if err := c.writeData("recovery.conf", "standby_mode = on\nprimary_conninfo = '"+conninfo+"'\n"); err != nil {
		return err
	}
	return c.firstStart(ctx, cfg.Port != 0)
}

// clientVersion is the oldest version whose client programs can be had and serve a server of that number.
func clientVersion(num int) string {
	switch {
	case num < 160000:
		return "15"
	case num < 180000:
		return "17"
	}
	return "18"
}
