package schema

// TargetColumn returns the name that a column of a table has in the destination, and whether it is selected. Of a partition, its
// partitioned ancestors have to be given too, from the nearest on. Unlike the inventory it also answers for tables and columns that
// the source does not have any more, or did not have when the inventory was read.
func (s Selection) TargetColumn(column string, table Name, ancestors ...Name) (target string, taken bool) {
	return s.rule(append([]Name{table}, ancestors...)...).column(column)
}

// ColumnRules returns the columns that are taken of a table by their names, none where all are; ancestors as for TargetColumn.
func (s Selection) ColumnRules(table Name, ancestors ...Name) []ColumnRule {
	if r := s.rule(append([]Name{table}, ancestors...)...); r != nil {
		return r.Columns
	}
	return nil
}

// Where returns the condition on the rows of a table, empty for all of them; ancestors as for TargetColumn.
func (s Selection) Where(table Name, ancestors ...Name) string {
	if r := s.rule(append([]Name{table}, ancestors...)...); r != nil {
		return r.Where
	}
	return ""
}
