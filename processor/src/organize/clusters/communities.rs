//! Groups in a graph that hold together more than chance would have it: Louvain's method,
//! which raises modularity by moving one node after the other, then takes each group
//! for a node and begins again. In whole numbers and in one order, so that it always finds
//! the same; and it needs not be told how many groups there are.

/// Rounds over all nodes of one level. Few are needed; the bound is for graphs on which
/// equal gains might go round in circles.
const MAX_ROUNDS: usize = 20;

/// A graph without direction: for each node its neighbours and the weights of the edges.
pub type Graph = Vec<Vec<(usize, i64)>>;

/// The group of each node; groups are numbered by their first nodes.
pub fn communities(graph: Graph) -> Vec<usize> {
    let mut level = Level {
        loops: vec![0; graph.len()],
        edges: graph,
    };
    let mut found: Vec<usize> = (0..level.edges.len()).collect();
    loop {
        let (groups, num_groups) = level.moved();
        if num_groups == level.edges.len() {
            return found;
        }
        for group in &mut found {
            *group = groups[*group];
        }
        level = level.merged(&groups, num_groups);
    }
}

/// The graph, some nodes of which were made one already.
struct Level {
    edges: Graph,
    /// The weight of what lies within each node, both ways.
    loops: Vec<i64>,
}

impl Level {
    /// The group of each node after all moves that raise modularity, and how many groups.
    fn moved(&self) -> (Vec<usize>, usize) {
        let num = self.edges.len();
        let weight = |node: usize| -> i64 {
            self.loops[node]
                + self.edges[node]
                    .iter()
                    .map(|(_, weight)| weight)
                    .sum::<i64>()
        };
        let weights: Vec<i64> = (0..num).map(weight).collect();
        let whole: i64 = weights.iter().sum();
        let mut groups: Vec<usize> = (0..num).collect();
        let mut totals = weights.clone();
        // The weight from the node at hand to each group; all zero between two nodes.
        let mut links = vec![0_i64; num];
        for _ in 0..MAX_ROUNDS {
            let mut has_moved = false;
            for node in 0..num {
                let own = groups[node];
                totals[own] -= weights[node];
                for (other, weight) in &self.edges[node] {
                    links[groups[*other]] += weight;
                }
                let gain = |group: usize| links[group] * whole - weights[node] * totals[group];
                let mut best = own;
                for (other, _) in &self.edges[node] {
                    let group = groups[*other];
                    let more = gain(group) - gain(best);
                    // Of equal ones its own, then the first.
                    if more > 0 || (more == 0 && best != own && group < best) {
                        best = group;
                    }
                }
                for (other, _) in &self.edges[node] {
                    links[groups[*other]] = 0;
                }
                totals[best] += weights[node];
                groups[node] = best;
                has_moved |= best != own;
            }
            if !has_moved {
                break;
            }
        }
        numbered(groups)
    }

    /// The graph whose nodes are the groups.
    fn merged(&self, groups: &[usize], num_groups: usize) -> Self {
        let mut loops = vec![0; num_groups];
        let mut edges = vec![std::collections::BTreeMap::<usize, i64>::new(); num_groups];
        for (node, neighbours) in self.edges.iter().enumerate() {
            let own = groups[node];
            loops[own] += self.loops[node];
            for (other, weight) in neighbours {
                let group = groups[*other];
                if group == own {
                    loops[own] += weight;
                } else {
                    *edges[own].entry(group).or_default() += weight;
                }
            }
        }
        let edges = edges.into_iter().map(|of| of.into_iter().collect());
        Self {
            edges: edges.collect(),
            loops,
        }
    }
}

/// Numbers groups anew, by their first nodes.
fn numbered(mut groups: Vec<usize>) -> (Vec<usize>, usize) {
    let mut numbers = vec![None; groups.len()];
    let mut next = 0;
    for group in &mut groups {
        let number = numbers[*group].get_or_insert_with(|| {
            next += 1;
            next - 1
        });
        *group = *number;
    }
    (groups, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(num: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = vec![Vec::new(); num];
        for (a, b) in edges {
            graph[*a].push((*b, 1));
            graph[*b].push((*a, 1));
        }
        graph
    }

    #[test]
    fn two_rings_with_one_bridge_are_two_groups() {
        let edges = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)];
        assert_eq!(communities(graph(6, &edges)), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn thirty_rings_of_five_in_a_ring_are_found_on_more_than_one_level() {
        let mut edges = Vec::new();
        for ring in 0..30 {
            for a in 0..5 {
                for b in 0..a {
                    edges.push((ring * 5 + a, ring * 5 + b));
                }
            }
            edges.push((ring * 5, (ring * 5 + 6) % 150));
        }
        let found = communities(graph(150, &edges));
        for ring in 0..30 {
            let first = found[ring * 5];
            assert!(found[ring * 5..ring * 5 + 5].iter().all(|g| *g == first));
        }
        // Modularity itself joins neighbouring rings of this graph in pairs.
        let num = found.iter().max().unwrap() + 1;
        assert!((14..=30).contains(&num), "{num}");
    }

    #[test]
    fn nodes_without_edges_stay_alone() {
        assert_eq!(communities(graph(3, &[(0, 2)])), [0, 1, 0]);
        assert!(communities(Vec::new()).is_empty());
    }
}
