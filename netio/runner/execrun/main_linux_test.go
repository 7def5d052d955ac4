package execrun

var keeperKinds = []string{"cgroup", "supervisor", "group"}

func keeperOf(kind string) keeper {
	if kind == "supervisor" {
		return supervisors{}
	}
	return groups{}
}
