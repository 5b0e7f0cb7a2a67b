//! The rows that answer a query.

use serde_json::{Map, Value};

use super::evaluate::{lookup, order};
use super::syntax::{Aggregate, Column, Path, Query, Select, Selected};

/// What a twin contributes to the answer, when every twin is a row.
pub(super) fn row(select: &Select, twin: Value) -> Value {
    match select {
        Select::All => twin,
        Select::Columns(columns) => {
            let present = |column: &Column| match &column.what {
                Selected::Path(path) => Some((column.name.clone(), lookup(path, &twin)?.clone())),
                Selected::Aggregate(..) => None,
            };
            Value::Object(columns.iter().filter_map(present).collect())
        }
    }
}

/// Whether rows are made of groups of twins.
pub(super) fn is_grouped(query: &Query) -> bool {
    let aggregates = match &query.select {
        Select::All => false,
        Select::Columns(columns) => columns.iter().any(|column| matches!(column.what, Selected::Aggregate(..))),
    };
    aggregates || !query.group_by.is_empty()
}

/// Gathers the groups of a query.
pub(super) struct Groups<'a> {
    columns: &'a [Column],
    by: &'a [Path],
    groups: Vec<Group>,
}

struct Group {
    key: Vec<Option<Value>>,
    sums: Vec<Sum>,
}

#[derive(Clone, Default)]
struct Sum {
    count: u64,
    total: f64,
    least: Option<Value>,
    most: Option<Value>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        let columns: &[Column] = match &query.select {
            Select::All => &[],
            Select::Columns(columns) => columns,
        };
        Self { columns, by: &query.group_by, groups: Vec::new() }
    }

    pub(super) fn add(&mut self, twin: &Value) {
        let key: Vec<_> = self.by.iter().map(|path| lookup(path, twin).cloned()).collect();
        let place = self.groups.iter().position(|group| group.key == key).unwrap_or_else(|| {
            self.groups.push(Group { key, sums: vec![Sum::default(); self.columns.len()] });
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        for (column, sum) in self.columns.iter().zip(&mut group.sums) {
            match &column.what {
                Selected::Aggregate(_, None) => sum.count += 1,
                Selected::Aggregate(_, Some(path)) => sum.add(lookup(path, twin)),
                Selected::Path(_) => {}
            }
        }
    }

    /// The rows; without GROUP BY there is one, even of no twin.
    pub(super) fn rows(mut self) -> Vec<Value> {
        if self.by.is_empty() && self.groups.is_empty() {
            self.groups.push(Group { key: Vec::new(), sums: vec![Sum::default(); self.columns.len()] });
        }
        self.groups.iter().map(|group| self.row(group)).collect()
    }

    fn row(&self, group: &Group) -> Value {
        let mut row = Map::new();
        for (column, sum) in self.columns.iter().zip(&group.sums) {
            let value = match &column.what {
                Selected::Aggregate(aggregate, _) => sum.value(*aggregate),
                Selected::Path(path) => {
                    self.by.iter().position(|by| by == path).and_then(|place| group.key[place].clone())
                }
            };
            if let Some(value) = value {
                row.insert(column.name.clone(), value);
            }
        }
        Value::Object(row)
    }
}

impl Sum {
    fn add(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        self.count += 1;
        self.total += value.as_f64().unwrap_or_default();
        let takes = |place: &Option<Value>, wanted| match place {
            None => true,
            Some(before) => order(value, before) == Some(wanted),
        };
        if takes(&self.least, std::cmp::Ordering::Less) {
            self.least = Some(value.clone());
        }
        if takes(&self.most, std::cmp::Ordering::Greater) {
            self.most = Some(value.clone());
        }
    }

    fn value(&self, aggregate: Aggregate) -> Option<Value> {
        match aggregate {
            Aggregate::Count => Some(self.count.into()),
            Aggregate::Sum => Some(number(self.total)),
            Aggregate::Avg if self.count == 0 => None,
            #[allow(clippy::cast_precision_loss, reason = "a hub has at most a million devices")]
            Aggregate::Avg => Some(number(self.total / self.count as f64)),
            Aggregate::Min => self.least.clone(),
            Aggregate::Max => self.most.clone(),
        }
    }
}

/// Whole numbers stand without a point.
fn number(value: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and far below the bounds")]
    if value.fract() == 0.0 && value.abs() < 9e15 { Value::from(value as i64) } else { Value::from(value) }
}
