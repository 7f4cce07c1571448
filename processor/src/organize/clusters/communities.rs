//! Groups in a graph that hold together more than chance would have it: Louvain's method
//! (Blondel, Guillaume, Lambiotte, Lefebvre 2008), which raises modularity by moving one node
//! after the other, then takes each group for a node and begins again. What it finds depends
//! on where it begins: so it goes over its groups node by node until nothing gets better, and
//! the best of several orders counts. In whole numbers and in given orders, so that it
//! always finds the same; and it needs not be told how many groups there are.

use crate::organize::direction::hash;

/// Rounds over all nodes of one level. Few are needed; the bound is for graphs on which
/// equal gains might go round in circles.
const MAX_ROUNDS: usize = 20;
/// Orders of the nodes. One alone finds now and then what is worse; each costs as much.
const NUM_ORDERS: u8 = 4;

/// A graph without direction: for each node its neighbours and the weights of the edges.
pub type Graph = Vec<Vec<(usize, i64)>>;

/// The group of each node; groups are numbered by their first nodes.
pub fn communities(graph: Graph) -> Vec<usize> {
    let level = Level {
        loops: vec![0; graph.len()],
        edges: graph,
    };
    let mut best: Option<(i128, Vec<usize>)> = None;
    for number in 0..NUM_ORDERS {
        let settled = level.settled(&order(level.edges.len(), number));
        // Of equally good ones the first.
        if best.as_ref().is_none_or(|best| settled.0 > best.0) {
            best = Some(settled);
        }
    }
    best.map(|(_, groups)| numbered(groups).0)
        .unwrap_or_default()
}

/// The nodes as they are, or mixed in one of many ways.
fn order(num: usize, number: u8) -> Vec<usize> {
    let mut nodes: Vec<usize> = (0..num).collect();
    if number > 0 {
        nodes.sort_by_cached_key(|node| {
            let mut bytes = node.to_le_bytes().to_vec();
            bytes.push(number);
            hash(&bytes)
        });
    }
    nodes
}

/// The graph, some nodes of which were made one already.
struct Level {
    edges: Graph,
    /// The weight of what lies within each node, both ways.
    loops: Vec<i64>,
}

impl Level {
    /// Groups that moving nodes and groups does not make better, and how good they are.
    fn settled(&self, order: &[usize]) -> (i128, Vec<usize>) {
        let mut groups = self.grouped(order, (0..self.edges.len()).collect());
        let mut modularity = self.modularity(&groups);
        loop {
            let next = self.grouped(order, groups.clone());
            let better = self.modularity(&next);
            if better <= modularity {
                return (modularity, groups);
            }
            (modularity, groups) = (better, next);
        }
    }

    /// Moves nodes from the groups that they are in, then those groups, and so on.
    fn grouped(&self, order: &[usize], groups: Vec<usize>) -> Vec<usize> {
        let (mut found, num_groups) = self.moved(order, groups);
        let mut level = self.merged(&found, num_groups);
        loop {
            let nodes: Vec<usize> = (0..level.edges.len()).collect();
            let (groups, num_groups) = level.moved(&nodes, nodes.clone());
            if num_groups == nodes.len() {
                return found;
            }
            for group in &mut found {
                *group = groups[*group];
            }
            level = level.merged(&groups, num_groups);
        }
    }

    /// The groups after all moves that raise modularity, and how many there are.
    fn moved(&self, order: &[usize], mut groups: Vec<usize>) -> (Vec<usize>, usize) {
        let num = self.edges.len();
        let weights: Vec<i64> = (0..num).map(|node| self.weight(node)).collect();
        let whole: i64 = weights.iter().sum();
        let mut totals = vec![0; num];
        for (group, weight) in groups.iter().zip(&weights) {
            totals[*group] += weight;
        }
        // The weight from the node at hand to each group; all zero between two nodes.
        let mut links = vec![0_i64; num];
        for _ in 0..MAX_ROUNDS {
            let mut has_moved = false;
            for &node in order {
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

    /// The weight within groups beyond what chance would have there, times the square of
    /// the whole weight.
    fn modularity(&self, groups: &[usize]) -> i128 {
        let mut totals = vec![0_i128; groups.len()];
        let (mut inside, mut whole) = (0_i128, 0_i128);
        for (node, group) in groups.iter().enumerate() {
            let weight = i128::from(self.weight(node));
            totals[*group] += weight;
            whole += weight;
            let within = self.edges[node]
                .iter()
                .filter(|(to, _)| groups[*to] == *group);
            inside += i128::from(self.loops[node]);
            inside += within.map(|(_, weight)| i128::from(*weight)).sum::<i128>();
        }
        inside * whole - totals.iter().map(|total| total * total).sum::<i128>()
    }

    fn weight(&self, node: usize) -> i64 {
        let edges = self.edges[node].iter().map(|(_, weight)| weight);
        self.loops[node] + edges.sum::<i64>()
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
    fn what_is_found_is_as_good_as_the_best_of_the_orders_and_no_move_betters_it() {
        // Chance ties each node to five, more often than not of its own ten.
        let mut seed = 7_u64;
        let mut chance = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        let mut edges = Vec::new();
        for node in 0..100 {
            for _ in 0..5 {
                let own = node / 10 * 10 + chance(10);
                let other = if chance(3) == 0 { chance(100) } else { own };
                if other != node {
                    edges.push((node, other));
                }
            }
        }
        let found = communities(graph(100, &edges));
        let level = Level {
            edges: graph(100, &edges),
            loops: vec![0; 100],
        };
        let modularity = level.modularity(&found);
        for number in 0..NUM_ORDERS {
            assert!(modularity >= level.settled(&order(100, number)).0);
        }
        for node in 0..100 {
            for group in 0..=*found.iter().max().unwrap() {
                let mut moved = found.clone();
                moved[node] = group;
                assert!(level.modularity(&moved) <= modularity, "{node} to {group}");
            }
        }
    }

    #[test]
    fn nodes_without_edges_stay_alone() {
        assert_eq!(communities(graph(3, &[(0, 2)])), [0, 1, 0]);
        assert!(communities(Vec::new()).is_empty());
    }
}
