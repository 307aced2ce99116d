"""Words and patterns by which checks.py finds what is wrong with a row: English and Korean, in lower case.

Every pattern has bounded repeats, so that its time grows linearly with a text.
"""

import re

STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        "a about after all also an and any are as at be because been before being but by can cannot could did do does doing "
        "each either else even every for from get gets had has have how however if in into is it its itself just like made "
        "make makes may more most much must no nor not of off on once one only or other others otherwise over own same she "
        "should since so some such than that the their them then there these they this those through to too under until up use "
        "used uses using very was way we were what when where whether which while who whole whose why will with within without "
        "would yes you your "
        "two three four five six seven eight nine ten",
    )
)
# beginnings of Korean words that carry grammar: to do, to be, to become, this, that, and what joins sentences
STOP_STEMS = frozenset(
    re.findall(
        r"\S+",
        "하는 하며 하고 하면 하여 하지 하기 하도 하게 하나 합니 해요 해야 해서 했습 했어 했다 한다 할수 된다 되는 되며 되고 "
        "되면 되어 되기 됩니 돼요 있는 있다 있습 있어 있으 있고 있도 있지 없는 없다 없습 없어 없이 없으 없고 이다 입니 이에 "
        "예요 이며 이고 이것 그것 저것 이런 그런 이를 그리 그래 그러 그때 이때 때문 경우 위해 위하 통해 대해 따라 것은 것이 "
        "것을 것입 것도 수도 수가 않는 않습 않고 않으 않아 아니 아닙 또한 또는 모두 함께 다른 어떤 여러 가지 정도 만약 만일 "
        "이렇 그렇 부터 까지 에서 으로 라고 라는 이라 네요 각각 같은 같이 많은 많이 매우 가장 더욱 바로 다시 이미 아직 항상 "
        "거의 약간 조금 모든 서로 스스",
    )
)
# after which a sentence goes on
HANGING = frozenset(
    re.findall(
        r"\S+",
        "the a an of and or to in with for by is are was were that which because as from on at be its it if when while than "
        "but into not their your 및 또는 그리고 그러나 하지만 때문에 위해 통해 대한 있는 하는 되는 같은",
    )
)
REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b|\bi(?:'m| am) (?:sorry|unable|not able)\b"
    r"|\bi (?:can't|cannot|can not|won't|am unable to) (?:help|assist|answer|provide|fulfil|comply|do|create|write|share)"
    r"|\bi apologi[sz]e\b|\bunable to (?:assist|answer|provide)|\bi do(?:n't| not) have (?:enough|access|the|any) "
    r"|(?:인공지능|ai|에이아이) ?(?:언어 ?)?모델(?:로서|로써|이라|이므로|입니다|이에요|일 뿐)|죄송(?:하지만|합니다|해요|하게도)"
    r"|(?:도와|답변|답해|답|알려|제공해|작성해|말씀)[가-힣 ]{0,6}"
    r"(?:드릴|줄|할|드리기|하기)[가-힣 ]{0,3}(?:수 ?(?:가 ?)?없|어렵|힘들|곤란)"
)
BOILERPLATE = re.compile(
    r"^(?:sure|certainly|of course|absolutely|great question|good question|i'd be happy|happy to help)\b"
    r"|\bhere(?:'s| is| are) (?:the|your|an?|one) (?:answer|question|response|translation|rewritten)"
    r"|\b(?:according to|based on|as stated in|mentioned in|described in|in|from) (?:the|this) "
    r"(?:(?:given|provided|above|following) )?(?:passage|text|document|excerpt|context|article)\b"
    r"|\bthe (?:given|provided|above) (?:passage|text|document|excerpt|context|article)\b"
    r"|\bthe (?:passage|excerpt|text|document|article|author) (?:says|states|mentions|describes|explains|does not|doesn't)"
    r"|^(?:물론(?:이죠|입니다|이에요|이지요)|좋은 질문|네, 알겠)"
    r"|(?:주어진|제공된|제시된|해당|위) ?(?:글|지문|본문|텍스트|문서|단락|문단|내용)"
    r"|(?:글|지문|본문|텍스트|문서|문단)에 (?:따르면|의하면|나와|나온|언급|쓰여|적혀|나타난)"
)
INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,40}\b(?:instructions?|prompts?|rules|directions|above|previous|prior)\b"
    r"|\b(?:you are now|from now on,? you|developer mode)\b|\bnew instructions?:"
    r"|\b(?:reveal|print|repeat)[^.!?\n]{0,20}system prompt"
    r"|\b(?:instead|only|just),? (?:say|write|answer|reply|respond|output|print)\b"
    r"|\b(?:say|answer|reply|respond|output) (?:only|with)\b"
    r"|(?:이전|앞선|앞의|위의|기존|지금까지)[^.!?\n]{0,20}(?:지시|명령|프롬프트|규칙)[^.!?\n]{0,20}(?:무시|잊)"
    r"|지금부터 (?:너는|넌|당신은)|시스템 프롬프트를|라고만 (?:답|대답|말|출력|써|쓰)"
    r"|라고 (?:답하|대답하|출력하)(?:라|세요|십시오|시오)"
)
MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}(?![\w-])", re.IGNORECASE)
EXAMPLE_MAIL = re.compile(
    r"@(?:[\w-]{1,63}\.){0,3}(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.IGNORECASE
)
PHONE = re.compile(
    r"(?<![\d.-])(?:01[016789][- .]?\d{3,4}[- .]?\d{4}|0(?:2|[3-6]\d|70)[-). ]{1,2}\d{3,4}[- ]\d{4}"
    r"|\+\d{1,3}[- ]?(?:\(?\d{1,4}\)?[- ]?){1,3}\d{3,4}|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\d.-]\d|\d)"
)
RESIDENT = re.compile(r"(?<!\d)(\d{6})([- ]?)([1-8]\d{6})(?!\d)")
