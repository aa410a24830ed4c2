package precheck

import "context"

var capacityChecks = []check{
	{"capacity", "disk of the destination", inventory, false, disk},
}

// disk states the need. PostgreSQL tells nobody how much room its disks have.
func disk(_ context.Context, e *env) (finding, error) {
	const most = 200 << 30
	var bytes int64
	for _, t := range e.inv.Tables {
		bytes += t.Bytes
	}
	return passed("%s should be free for %s of data; SQL cannot tell what is", size(min(bytes+bytes/2, bytes+most)), size(bytes))
}
