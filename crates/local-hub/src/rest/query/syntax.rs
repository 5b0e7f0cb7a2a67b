//! What a query says, and why one cannot be read.

use serde_json::Value;

/// `SELECT … FROM devices [WHERE …] [GROUP BY …]`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) top: Option<usize>,
    pub(super) select: Select,
    pub(super) condition: Option<Expression>,
    pub(super) group_by: Vec<Path>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Select {
    /// `*`
    All,
    /// A list of columns.
    Columns(Vec<Column>),
}

/// One column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) what: Selected,
    /// Its name in the answer.
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selected {
    Path(Path),
    Aggregate(Aggregate, Option<Path>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// The names that lead to a value in a twin.
pub(super) type Path = Vec<String>;

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// A text, a number, true, false, null.
    Literal(Value),
    Undefined,
    Path(Path),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    In {
        what: Box<Expression>,
        list: Vec<Expression>,
        negated: bool,
    },
    Call(Function, Vec<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The functions that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    IsDefined,
    IsNull,
    IsBool,
    IsNumber,
    IsString,
    IsObject,
    IsArray,
    IsPrimitive,
    StartsWith,
    EndsWith,
    Contains,
    Lower,
    Upper,
    Length,
}

impl Function {
    /// A function's name, in lower case, and how many arguments it takes.
    pub(super) const ALL: [(&'static str, Self, usize); 14] = [
        ("is_defined", Self::IsDefined, 1),
        ("is_null", Self::IsNull, 1),
        ("is_bool", Self::IsBool, 1),
        ("is_number", Self::IsNumber, 1),
        ("is_string", Self::IsString, 1),
        ("is_object", Self::IsObject, 1),
        ("is_array", Self::IsArray, 1),
        ("is_primitive", Self::IsPrimitive, 1),
        ("startswith", Self::StartsWith, 2),
        ("endswith", Self::EndsWith, 2),
        ("contains", Self::Contains, 2),
        ("lower", Self::Lower, 1),
        ("upper", Self::Upper, 1),
        ("length", Self::Length, 1),
    ];
}

/// Why a query cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query cannot be answered: at character {at}: {why}")]
pub(super) struct SyntaxError {
    at: usize,
    why: String,
}

impl SyntaxError {
    pub(super) fn new(at: usize, why: impl Into<String>) -> Self {
        Self { at, why: why.into() }
    }
}
