package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// Columns shows one kind as a table.
type Columns struct {
	columns []column
	wide    bool
	now     time.Time
}

type column struct {
	name string
	wide bool
	cell func(r *operatorv1.Resource, now time.Time) Cell
}

// ColumnsOf returns the columns of a kind, with wide all of them. Ages count from now.
func ColumnsOf(k resource.Kind, wide bool, now time.Time) Columns {
	c := Columns{wide: wide, now: now}
	switch k.Enum {
	case operatorv1.Kind_KIND_HOST:
		c.columns = hostColumns()
	case operatorv1.Kind_KIND_POLICY:
		c.columns = policyColumns()
	case operatorv1.Kind_KIND_JOIN_TOKEN:
		c.columns = joinTokenColumns()
	case operatorv1.Kind_KIND_SECURITY_ASSOCIATION:
		c.columns = associationColumns()
	case operatorv1.Kind_KIND_EVENT:
		c.columns = eventColumns()
	case operatorv1.Kind_KIND_MANUAL_PEER:
		c.columns = manualPeerColumns()
	case operatorv1.Kind_KIND_PEER:
		c.columns = peerColumns()
	case operatorv1.Kind_KIND_CREDENTIAL:
		c.columns = credentialColumns()
	case operatorv1.Kind_KIND_IKE_SECURITY_ASSOCIATION:
		c.columns = ikeSAColumns()
	default:
		c.columns = []column{{"NAME", false, nameCell}, {"AGE", false, ageCell}}
	}
	return c
}

// Header returns the names of the columns.
func (c Columns) Header() []string {
	var names []string
	for _, col := range c.columns {
		if !col.wide || c.wide {
			names = append(names, col.name)
		}
	}
	return names
}

// Row returns the cells of a resource.
func (c Columns) Row(r *operatorv1.Resource) []Cell {
	var row []Cell
	for _, col := range c.columns {
		if !col.wide || c.wide {
			row = append(row, col.cell(r, c.now))
		}
	}
	return row
}

func nameCell(r *operatorv1.Resource, _ time.Time) Cell {
	return Cell{Text: resource.Metadata(r).GetName()}
}

func ageCell(r *operatorv1.Resource, now time.Time) Cell {
	t := resource.Metadata(r).GetCreateTime()
	if t == nil {
		return Cell{}
	}
	return Cell{Text: Age(now.Sub(t.AsTime()))}
}

func labelsCell(r *operatorv1.Resource, _ time.Time) Cell {
	return Cell{Text: labels(resource.Metadata(r).GetLabels())}
}

func labels(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func conditionsCell(list []*operatorv1.Condition) Cell {
	var types []string
	for _, c := range list {
		types = append(types, c.GetType())
	}
	return Cell{strings.Join(types, ","), Warning}
}

// pairsCell shows up/wanted, in red while they differ.
func pairsCell(up, wanted uint32) Cell {
	c := Cell{Text: fmt.Sprintf("%d/%d", up, wanted)}
	if up < wanted {
		c.Style = Bad
	}
	return c
}

// until shows how long it is to t.
func until(t *timestamppb.Timestamp, now time.Time) Cell {
	if t == nil {
		return Cell{}
	}
	left := t.AsTime().Sub(now)
	if left <= 0 {
		return Cell{"ended", Warning}
	}
	return Cell{Text: Age(left)}
}
