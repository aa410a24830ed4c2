package schema

// TargetColumn returns the name that a column of a table has in the destination, and whether it is selected. root is the topmost
// partitioned table of a partition, else the table itself. Unlike the inventory it also answers for tables and columns that the
// source does not have any more, or did not have when the inventory was read.
func (s Selection) TargetColumn(table, root Name, column string) (target string, taken bool) {
	return s.rule(table, root).column(column)
}

// Where returns the condition on the rows of a table, empty for all of them; root as for TargetColumn.
func (s Selection) Where(table, root Name) string {
	if r := s.rule(table, root); r != nil {
		return r.Where
	}
	return ""
}
