// Package report lays results out: tables for terminals and Markdown. It knows nothing of models.
package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Table is rows of cells under a head.
type Table struct {
	Head []string
	Rows [][]string
}

// Add appends a row. Cells that are missing at its end are empty; more than the head has are a bug and panic.
func (t *Table) Add(cells ...string) {
	row := make([]string, len(t.Head))
	if copy(row, cells) < len(cells) {
		panic(fmt.Sprintf("report: a row of %d cells in a table of %d", len(cells), len(t.Head)))
	}
	t.Rows = append(t.Rows, row)
}

// Text writes the table for a terminal: columns aligned by spaces.
func (t *Table) Text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// Markdown writes the table as GitHub's Markdown, columns aligned so that it reads as plain text too.
func (t *Table) Markdown(w io.Writer) error {
	width := make([]int, len(t.Head))
	all := append([][]string{t.Head}, t.Rows...)
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(escaped(cell)), 3)
		}
	}
	var b strings.Builder
	for n, row := range all {
		for i, cell := range row {
			cell = escaped(cell)
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range width {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escaped writes a cell so that it ends no column.
func escaped(cell string) string { return strings.ReplaceAll(cell, "|", `\|`) }
