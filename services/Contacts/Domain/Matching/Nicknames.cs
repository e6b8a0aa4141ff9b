using System.Collections.Frozen;

namespace Crm.Contacts.Domain.Matching;

/// <summary>
/// Given names that stand for one another: short forms and the forms of neighbouring languages. A name may belong to
/// several groups (Alex to Alexander and to Alexandra).
/// </summary>
internal static class Nicknames
{
    private const string Groups = """
        abigail abby abbie gail
        abraham abe bram
        albert al bert bertie alberto albrecht
        alexander alex alec alexandre alejandro alessandro sandy sascha sasha xander aleksander aleksandr
        alexandra alex sandra sandy sascha sasha lexi alessandra alejandra
        alfred al fred alf freddie alfredo
        amanda mandy
        andrew andy drew andreas andre andrea andrzej andrei andres
        angela angie angelika
        ann anne anna annie nancy hannah ana anja anke annika
        anthony tony anton antonio antoine toni
        arthur art artur arturo
        barbara barb babs barbie
        benjamin ben benny benji
        bernhard bernard bernd bernie bernardo
        brigitte birgit gitte bridget
        catherine katherine kathryn katharina catharina cathy kathy kate katie kay kitty katrin karin cat katja caterina catalina
        charles charlie chuck chas carl karl carlos carlo
        charlotte lottie charlie lotte carlotta
        christian chris kristian
        christina christine chris tina christa kristina kristin kirsten christiane
        christopher chris kit christoph christophe christof kris cristobal
        clara klara claire clare
        daniel dan danny daniele
        david dave davy
        deborah deb debbie debra
        dieter dietrich
        donald don donnie
        dorothy dot dotty dolly dorothea dora thea
        edward ed eddie ned ted teddy eduard edouard eduardo edoardo
        eleanor ellie nell nora eleonore leonora
        elisabeth elizabeth liz lizzie beth betty bess libby eliza elsa else lisa lise elise isabel isabella bettina ella lisbeth
        emanuel emmanuel manny manuel manu
        emily em emmy emilia emilie
        ernest ernie ernst ernesto
        eugene gene eugen
        florence flo flora
        frances fran fanny francesca francoise franziska francisca sissi
        francis frank fran francois francesco francisco franz paco
        frederick fred freddie rick friedrich fritz frederik federico frederic
        gabriel gabe gabriele
        geoffrey jeffrey geoff jeff gottfried
        george georg georges jorge giorgio jurgen joerg jorg juergen
        gerald gerry jerry gerhard gerd gert gerard
        gertrude trudy gertrud
        giovanni john juan jean johann johannes hans jan ivan ian hannes jack johnny jon sean evan
        gregory greg gregor
        guenther gunther gunter guenter
        harold harry hal harald
        heinrich henry heinz harry hank henri enrico enrique hendrik henrik heiner
        helen helena helene elena nell ellen lena leni
        herbert bert herb
        hubert bert hub
        ida idaline
        jacob jake jakob jacques james jim jimmy jamie diego giacomo jaime
        jacqueline jackie
        jane jean joan johanna joanna jeanne jenny hanna juana giovanna jana
        janet jan jeanette
        jennifer jen jenny jenn
        jessica jess jessie
        jonathan jon jonny john
        joseph joe joey jo josef jose giuseppe josep pepe sepp jupp
        josephine jo josie josefine josefa
        joshua josh
        judith judy jutta
        julia julie jules giulia juliane
        kenneth ken kenny
        laurence lawrence larry lorenz lorenzo lars laurent
        leonard leo len lenny leonhard leonardo lennart
        leopold leo poldi
        louis lewis lou ludwig luis luigi lutz
        louise lou lulu luise luisa
        lucas luke luca lukas luc
        lucy lucia lucie luzia
        magdalena lena madeleine maddie magda madeline
        margaret maggie meg peggy marge margie greta margarete grete margarethe marguerite margarita rita margit gretchen daisy
        maria mary marie mia molly polly marija miriam maryam mitzi
        mark marcus markus marc marco marcos
        martha marta marty
        martin marty martino
        mathias matthias matthew matt mattias mathieu matteo mateo matthieu
        maximilian max maximiliano
        melissa mel missy
        michael mike mick mickey mitch michel miguel michele mikhail mikael michal micha
        michelle shelly michele
        nathaniel nathan nate nat
        nicholas nick nicky nicolas nikolaus klaus claus niklas nico nicola nils nikolai
        nicole nicky nikki
        oliver ollie olivier
        olivia liv ollie livia
        otto udo
        pamela pam
        patricia pat patty trish tricia
        patrick pat paddy patricio
        paul paulo paolo pablo pavel
        peter pete pedro pierre piet pietro petr
        philip phil phillip philipp philippe pip felipe filippo
        rachel rahel raquel
        ralph ralf rafe
        raymond ray raimund ramon
        rebecca becky becca rebekka
        reinhard reiner rainer
        richard rick dick rich richie ricky riccardo ricardo
        robert bob rob bobby robbie bert roberto rupert
        roland rolf roly
        ronald ron ronnie
        rudolf rudolph rudi rolf rodolfo
        samantha sam sammy
        samuel sam sammy
        sarah sally sara sadie
        sebastian seb basti bastian sebastien
        siegfried sigi siggi
        simon simeon simone
        sophia sophie sofia sofie
        stephanie steph steffi stefanie stefania
        stephen steve steven stefan stephan stefano etienne esteban
        susan sue susie suzanne susanne susanna suzie zuzana
        theodore ted theo teddy theodor
        theresa teresa tess terry theresia therese resi
        thomas tom tommy tomas tommaso thom
        timothy tim timmy
        ulrich uli ulli
        valentina val tina
        veronica ronnie vera veronika
        victoria vicky tori viktoria vittoria
        vincent vince vinny vincenzo vicente
        virginia ginny ginger
        walter walt wally
        werner wernher
        william bill will billy willy liam wilhelm willi guillaume guillermo guglielmo willem wim
        wolfgang wolf wolfi
        zachary zach zack
        """;

    private static readonly FrozenDictionary<string, int[]> GroupsOf = Groups
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .SelectMany((line, index) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Distinct(StringComparer.Ordinal).Select(name => (name, index)))
        .GroupBy(n => n.name, n => n.index, StringComparer.Ordinal)
        .ToFrozenDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal);

    /// <summary>True when both folded names are forms of one name.</summary>
    public static bool Same(string a, string b) =>
        GroupsOf.TryGetValue(a, out var left) && GroupsOf.TryGetValue(b, out var right) && left.AsSpan().IndexOfAny(right) >= 0;

    /// <summary>One name for all of a group, for blocking: the first group's number, or the name itself.</summary>
    public static string Canonical(string name) => GroupsOf.TryGetValue(name, out var groups) ? string.Create(null, $"={groups[0]}") : name;
}
