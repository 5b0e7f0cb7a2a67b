//! Whether a twin meets a condition. What is not there is undefined, and what is asked of it neither holds nor fails.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::syntax::{Comparison, Expression, Function};

/// Whether `condition` holds for `twin`.
pub(super) fn holds(condition: &Expression, twin: &Value) -> bool {
    truth(condition, twin) == Some(true)
}

/// The value at `path`; nothing if it is undefined. Names at the top are compared without case, as the service's own.
pub(super) fn lookup<'a>(path: &[String], twin: &'a Value) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let top = twin.as_object()?;
    let found =
        top.get(first).or_else(|| top.iter().find(|(name, _)| name.eq_ignore_ascii_case(first)).map(|(_, v)| v));
    rest.iter().try_fold(found?, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

fn truth(condition: &Expression, twin: &Value) -> Option<bool> {
    match condition {
        Expression::Not(inner) => truth(inner, twin).map(|holds| !holds),
        Expression::And(all) => {
            let mut outcome = Some(true);
            for part in all {
                match truth(part, twin) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => outcome = None,
                }
            }
            outcome
        }
        Expression::Or(any) => {
            let mut outcome = Some(false);
            for part in any {
                match truth(part, twin) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => outcome = None,
                }
            }
            outcome
        }
        Expression::Compare(comparison, left, right) => {
            let (left, right) = (value(left, twin)?, value(right, twin)?);
            Some(compares(*comparison, &left, &right))
        }
        Expression::In { what, list, negated } => {
            let what = value(what, twin)?;
            let found = list.iter().filter_map(|item| value(item, twin)).any(|item| equal(&what, &item));
            Some(found != *negated)
        }
        other => value(other, twin)?.as_bool(),
    }
}

fn value<'a>(expression: &'a Expression, twin: &'a Value) -> Option<Cow<'a, Value>> {
    match expression {
        Expression::Literal(literal) => Some(Cow::Borrowed(literal)),
        Expression::Undefined => None,
        Expression::Path(path) => lookup(path, twin).map(Cow::Borrowed),
        Expression::Call(function, arguments) => call(*function, arguments, twin).map(Cow::Owned),
        condition => truth(condition, twin).map(|holds| Cow::Owned(Value::Bool(holds))),
    }
}

fn call(function: Function, arguments: &[Expression], twin: &Value) -> Option<Value> {
    let first = arguments.first().and_then(|argument| value(argument, twin));
    let is = |wanted: fn(&Value) -> bool| Some(Value::Bool(first.as_deref().is_some_and(wanted)));
    let texts = |meets: fn(&str, &str) -> bool| {
        let second = value(arguments.get(1)?, twin)?;
        Some(Value::Bool(meets(first.as_deref()?.as_str()?, second.as_str()?)))
    };
    match function {
        Function::IsDefined => is(|_| true),
        Function::IsNull => is(Value::is_null),
        Function::IsBool => is(Value::is_boolean),
        Function::IsNumber => is(Value::is_number),
        Function::IsString => is(Value::is_string),
        Function::IsObject => is(Value::is_object),
        Function::IsArray => is(Value::is_array),
        Function::IsPrimitive => is(|value| !value.is_object() && !value.is_array()),
        Function::StartsWith => texts(|text, part| text.starts_with(part)),
        Function::EndsWith => texts(|text, part| text.ends_with(part)),
        Function::Contains => texts(|text, part| text.contains(part)),
        Function::Lower => Some(first?.as_str()?.to_lowercase().into()),
        Function::Upper => Some(first?.as_str()?.to_uppercase().into()),
        Function::Length => Some(first?.as_str()?.chars().count().into()),
    }
}

fn compares(comparison: Comparison, left: &Value, right: &Value) -> bool {
    let order = || order(left, right);
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Less => order() == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order() == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right) == Ordering::Equal,
        _ => left == right,
    }
}

/// Numbers by size, texts by their letters (times are texts that sort by time); others have no order.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
