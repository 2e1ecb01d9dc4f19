//! The conditions of a policy: the parts that must hold, and what they go by.

use std::sync::Arc;

use cedar_policy::Policy;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, UnaryOp};

/// One of the conditions of a policy, all of which must hold.
pub(super) struct Condition {
    expr: Arc<Expr>,
    /// What it must be.
    pub(super) wanted: bool,
}

impl Condition {
    /// The expression, in Cedar's words.
    pub(super) fn expression(&self) -> String {
        self.expr.to_string()
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.wanted { self.expr.fmt(f) } else { write!(f, "!({})", self.expr) }
    }
}

/// The conditions of a policy: its clauses, taken apart at `&&`, and at `||` where none
/// may hold. A policy without any holds wherever its scope does.
pub(super) fn of(policy: &Policy) -> Vec<Condition> {
    let mut found = Vec::new();
    for clause in clauses(policy) {
        match clause {
            Clause::When(expr) => take_apart(&expr, true, &mut found),
            Clause::Unless(expr) => take_apart(&expr, false, &mut found),
        }
    }
    found
}

fn clauses(policy: &Policy) -> Vec<Clause> {
    // Each policy was made of Cedar's text, which has such a form.
    policy.to_pst().map(|policy| policy.body().clauses().clone()).unwrap_or_default()
}

fn take_apart(expr: &Arc<Expr>, wanted: bool, found: &mut Vec<Condition>) {
    match (expr.as_ref(), wanted) {
        (Expr::BinaryOp { op: BinaryOp::And, left, right }, true)
        | (Expr::BinaryOp { op: BinaryOp::Or, left, right }, false) => {
            take_apart(left, wanted, found);
            take_apart(right, wanted, found);
        }
        (Expr::UnaryOp { op: UnaryOp::Not, expr }, _) => take_apart(expr, !wanted, found),
        _ => found.push(Condition { expr: Arc::clone(expr), wanted }),
    }
}

/// Whether a policy reads this attribute of something.
pub(super) fn read_attribute(policy: &Policy, name: &str) -> bool {
    any(policy, &|expr| match expr {
        Expr::GetAttr { attr, .. } => attr == name,
        Expr::HasAttr { attrs, .. } => attrs.iter().any(|attr| attr == name),
        _ => false,
    })
}

/// Whether a policy goes by the tags of a key.
pub(super) fn read_tags_of_key(policy: &Policy) -> bool {
    any(policy, &|expr| match expr {
        Expr::BinaryOp { op: BinaryOp::GetTag | BinaryOp::HasTag, left, .. } => {
            matches!(left.as_ref(), Expr::Var(cedar_policy::pst::Var::Resource))
                || matches!(left.as_ref(), Expr::GetAttr { attr, .. } if attr == "other_key")
        }
        _ => false,
    })
}

/// Whether a policy speaks of the principal beyond its scope.
pub(super) fn read_principal(policy: &Policy) -> bool {
    any(policy, &|expr| matches!(expr, Expr::Var(cedar_policy::pst::Var::Principal)))
}

/// Whether a policy's conditions name an alias.
pub(super) fn name_an_alias(policy: &Policy) -> bool {
    any(policy, &is_alias)
}

/// Whether a key's being in an alias helps the conditions of a policy to hold, and
/// whether its not being there does.
pub(super) fn lean_on_alias(policy: &Policy) -> (bool, bool) {
    let mut leanings = (false, false);
    for clause in clauses(policy) {
        let (expr, positive) = match &clause {
            Clause::When(expr) => (expr, true),
            Clause::Unless(expr) => (expr, false),
        };
        lean(expr, positive, &mut leanings);
    }
    leanings
}

fn lean(expr: &Expr, positive: bool, leanings: &mut (bool, bool)) {
    match expr {
        Expr::BinaryOp { op: BinaryOp::And | BinaryOp::Or, left, right } => {
            lean(left, positive, leanings);
            lean(right, positive, leanings);
        }
        Expr::UnaryOp { op: UnaryOp::Not, expr } => lean(expr, !positive, leanings),
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            lean(cond, positive, leanings);
            lean(cond, !positive, leanings);
            lean(then_expr, positive, leanings);
            lean(else_expr, positive, leanings);
        }
        atom if within(atom, &is_alias) => {
            let negated = matches!(atom, Expr::BinaryOp { op: BinaryOp::NotEq, .. });
            leanings.0 |= positive != negated;
            leanings.1 |= positive == negated;
        }
        _ => {}
    }
}

fn is_alias(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(Literal::EntityUID(uid)) if uid.ty.to_string() == "Alias")
}

fn any(policy: &Policy, wanted: &dyn Fn(&Expr) -> bool) -> bool {
    clauses(policy).iter().any(|clause| {
        let (Clause::When(expr) | Clause::Unless(expr)) = clause;
        within(expr, wanted)
    })
}

fn within(expr: &Expr, wanted: &dyn Fn(&Expr) -> bool) -> bool {
    expr.reduce(&|it| wanted(it).then_some(true), &|one, other| one || other, false)
}
