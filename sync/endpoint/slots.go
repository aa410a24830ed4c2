package endpoint

// soundAdvance is the first minor release of each major version in which moving a slot leaves it fit for transactions in progress. Before,
// the source may vacuum away the rows of its catalogs that their changes were made under, and cannot decode them any more, or
// misreads them. For 12 that was never mended.
var soundAdvance = map[int]int{13: 21, 14: 18, 15: 13, 16: 9, 17: 5}

// MovesSlots reports whether slots of a server with this server_version_num can be moved.
func MovesSlots(version int) bool {
	minor, mended := soundAdvance[version/10000]
	return version >= 180000 || mended && version%10000 >= minor
}
