package catalogue_test

import (
	"testing"

	"tillandsia/shared/catalogue"
)

type thing struct {
	kind, id string
	revision uint64
}

func sumOf(things ...thing) catalogue.Sum {
	var s catalogue.Sum
	for _, t := range things {
		s.Toggle(t.kind, t.id, t.revision)
	}
	return s
}

func TestSumTellsStatesApartWhateverTheirOrder(t *testing.T) {
	water, juice := thing{"product", "water", 3}, thing{"product", "juice", 4}
	base := sumOf(water, juice)
	tests := []struct {
		name   string
		things []thing
		same   bool
	}{
		{"the same things in another order are the same", []thing{juice, water}, true},
		{"a thing taken out again is gone", []thing{water, juice, {"tax", "t", 1}, {"tax", "t", 1}}, true},
		{"a thing less differs", []thing{water}, false},
		{"another revision differs", []thing{{"product", "water", 5}, juice}, false},
		{"another kind differs", []thing{{"category", "water", 3}, juice}, false},
		{"where kind and id are cut differs", []thing{{"productwater", "", 3}, juice}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sumOf(tt.things...) == base; got != tt.same {
				t.Errorf("equal = %v, want %v", got, tt.same)
			}
		})
	}
	if (catalogue.Sum{}).String() == base.String() {
		t.Error("a state has the sum of the empty one")
	}
}

func TestRolesAreOrdered(t *testing.T) {
	order := []catalogue.Role{"", catalogue.RoleCashier, catalogue.RoleManager, catalogue.RoleAdmin}
	for i, r := range order {
		for k, other := range order {
			if got := r.AtLeast(other); got != (i >= k) {
				t.Errorf("%q.AtLeast(%q) = %v", r, other, got)
			}
		}
	}
}
