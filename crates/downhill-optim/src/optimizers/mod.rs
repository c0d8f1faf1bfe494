//! Every optimizer, one file each.

use crate::registry::Entry;

/// Declares the modules and the list of what they have.
macro_rules! optimizers {
    ($($module:ident: $($preset:ident),*;)*) => {
        $(mod $module;)*
        mod outputs;
        mod projection;
        pub mod slides;
        $(pub use $module::*;)*

        /// The optimizers, in the order of every list.
        pub(crate) const LIST: &[Entry] = &[$($(Entry::of::<$preset>(),)*)*];
    };
}

optimizers! {
    sgd: Sgd;
    adagrad: AdaGrad;
    rmsprop: RmsProp;
    adam: Adam, AdamW;
    nadam: NAdam, NAdamW;
    adafactor: Adafactor;
    radam: RAdam;
    adamax: AdaMax;
    adadelta: Adadelta;
    asgd: Asgd;
    rprop: Rprop;
    lion: Lion;
    signum: Signum, SignSgd, Tiger;
    adabelief: AdaBelief;
    yogi: Yogi;
    laprop: LaProp;
    adan: Adan;
    adopt: Adopt;
    qhm: Qhm, QhAdam;
    aggmo: AggMo;
    optimistic_gd: OptimisticGd;
    ademamix: AdEmaMix, SimplifiedAdEmaMix;
    grams: Grams;
    padam: PAdam;
    diffgrad: DiffGrad;
    madgrad: Madgrad;
    ftrl: Ftrl;
    amsgrad: ;
    optimistic_adam: OptimisticAdam;
    adabound: AdaBound;
    adamod: AdaMod;
    acprop: AcProp;
    pnm: Pnm;
    adapnm: AdaPnm;
    ano: Ano;
    accsgd: AccSgd;
    pid: Pid;
    cocob: Cocob;
    schedule_free: ScheduleFreeSgd;
    schedule_free_adamw: ScheduleFreeAdamW;
    schedule_free_radam: ScheduleFreeRAdam;
    gpa_adamw: GpaAdamW;
    lamb: Lamb;
    lars: Lars;
    novograd: NovoGrad;
    adanorm: AdaNorm;
    stable_adamw: StableAdamW;
    mars: Mars;
    adamp: AdamP;
    sgdp: Sgdp;
    stable_spam: StableSpam;
    amos: Amos;
    came: Came;
    sm3: Sm3;
    adam_mini: AdamMini;
    racs: Racs;
    prodigy: Prodigy;
    dadapt_adam: DAdaptAdam;
    dadapt_sgd: DAdaptSgd;
    dog: Dog, LDoG;
    dowg: Dowg;
    momo: Momo;
    momo_adam: MomoAdam;
    muon: Muon, MuonKellerJordan, MuonMoonlight, MuonTimm;
    normuon: NorMuon;
    adamuon: AdaMuon;
    scion: Scion;
    shampoo: Shampoo, ShampooAlgoPerf;
    soap: Soap;
    splus: SPlus;
    psgd_kron: PsgdKron;
    galore: GaLore;
    apollo: Apollo, ApolloMini;
    lookahead: Lookahead;
    grokfast: Grokfast;
    orthograd: OrthoGrad;
    gradient_centralization: GradientCentralization;
    schedule_free_wrapper: ScheduleFree;
}

/// A deck's, for comparison.
pub(crate) const SLIDES: &[Entry] = &[
    Entry::of::<slides::Momentum>(),
    Entry::of::<slides::NAdam>(),
    Entry::of::<slides::AdaFactor>(),
];
